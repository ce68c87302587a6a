"""load_table, Schema, Standardizer: what users' files hold, and what is wrong in them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnlite.data import Schema, Standardizer, load_digits, load_table

IRIS = """sepal,petal,species
5.1,1.4,setosa
7.0,4.7,versicolor
6.3,6.0,virginica
4.9,1.5,setosa
"""


def write(folder, text, name="data.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- good files ----


def test_csv_with_names(tmp_path):
    table = load_table(write(tmp_path, IRIS), target="species")
    assert table.X.tolist() == [[5.1, 1.4], [7.0, 4.7], [6.3, 6.0], [4.9, 1.5]]
    assert table.X.dtype == np.float64 and table.X.flags.c_contiguous
    assert table.y.tolist() == [0, 1, 2, 0] and table.y.dtype == np.int64
    assert table.features == ["sepal", "petal"]
    assert table.classes == ["setosa", "versicolor", "virginica"]
    assert table.schema.task == "classify"


@pytest.mark.parametrize("target", ["species", "2", 2, -1, "-1"])
def test_target_by_name_or_number(tmp_path, target):
    assert load_table(write(tmp_path, IRIS), target=target).y.tolist() == [0, 1, 2, 0]


def test_csv_without_names(tmp_path):
    path = write(tmp_path, IRIS.partition("\n")[2])
    table = load_table(path, target=-1)
    assert table.features == ["0", "1"] and len(table.X) == 4
    assert table.schema.target == "2" and not table.schema.named


def test_header_as_told(tmp_path):
    years = write(tmp_path, "2019,2020\n1,2\n3,4\n")
    assert load_table(years).features == ["0", "1"] and len(load_table(years).X) == 3
    assert load_table(years, header=True).features == ["2019", "2020"]
    texts = write(tmp_path, "red,a\nblue,b\n")
    assert load_table(texts, header=False).X.tolist() == [[0, 1, 1, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "a;b\n1;2\n",
        "a\tb\n1\t2\n",
        "\ufeffa,b\r\n1,2\r\n",
        ' a , "b"\n\n "1", 2.0\n\n',
        '"a","b"\n1e0,+2\n   \n',
        "a,b\n1,2",
    ],
)
def test_ways_to_write_a_table(tmp_path, text):
    table = load_table(write(tmp_path, text))
    assert table.features == ["a", "b"] and table.X.tolist() == [[1, 2]]
    assert table.y is None and table.classes is None


def test_quoted_fields(tmp_path):
    text = 'x,"the, ""kind"""\n1,"a\nb"\n2,"c, d"\n'
    table = load_table(write(tmp_path, text), target='the, "kind"')
    assert table.classes == ["a\nb", "c, d"]


def test_texts_become_one_feature_each(tmp_path):
    text = "colour,size,y\nred,1,0.5\nblue,2,1.5\nred,3,2.5\n"
    table = load_table(write(tmp_path, text), target="y")
    assert table.features == ["colour=blue", "colour=red", "size"]
    assert table.X.tolist() == [[0, 1, 1], [1, 0, 2], [0, 1, 3]]
    assert table.y.tolist() == [0.5, 1.5, 2.5] and table.classes is None


def test_longer_than_a_block(tmp_path):
    lines = [f"{i},{'ab'[i % 2]},{i % 3}" for i in range(20_000)]
    table = load_table(write(tmp_path, "n,t,y\n" + "\n".join(lines)), target="y")
    assert np.array_equal(table.X[:, 0], np.arange(20_000))
    assert np.array_equal(table.X[:, 1], np.arange(20_000) % 2 == 0)
    assert np.array_equal(table.y, np.arange(20_000) % 3)


def test_ignored_columns_may_hold_anything(tmp_path):
    path = write(tmp_path, ",id,x,y\n0,,1,2\n1,?,3,4\n")
    table = load_table(path, target="y", ignore=[0, "id"])
    assert table.features == ["x"] and table.X.tolist() == [[1], [3]]


@pytest.mark.parametrize(
    "values, task, expected, classes",
    [
        (["b", "a"], None, [1, 0], ["a", "b"]),
        (["10", "9", "x"], None, [0, 1, 2], ["10", "9", "x"]),
        (["3", "1"] * 5, None, [1, 0] * 5, ["1", "3"]),
        (["3", "1"] * 4, None, [3, 1] * 4, ["1", "3"]),
        (["10", "9"] * 5, None, [1, 0] * 5, ["9", "10"]),
        (["1", "2", "3", "4"], None, [1, 2, 3, 4], None),
        ([str(i % 20) for i in range(100)], None, [i % 20 for i in range(100)], "20 classes"),
        ([str(i % 21) for i in range(200)], None, [i % 21 for i in range(200)], None),
        (["1.5", "2.5"] * 9, None, [1.5, 2.5] * 9, None),
        (["3", "1"] * 5, "regress", [3, 1] * 5, None),
        (["1.5", "-2"], "classify", [1, 0], ["-2", "1.5"]),
        (["1", "1.0", "2"], "classify", [0, 0, 1], ["1", "2"]),
    ],
)
def test_task_by_the_target(tmp_path, values, task, expected, classes):
    text = "x,y\n" + "".join(f"0,{value}\n" for value in values)
    table = load_table(write(tmp_path, text), target="y", task=task)
    if classes == ["1", "3"] and len(values) < 10:
        classes = None  # 8 rows are too few for 2 classes of numbers
    if isinstance(classes, str):
        classes = [str(i) for i in range(20)]
    assert table.y.tolist() == expected and table.classes == classes
    assert table.schema.task == ("regress" if classes is None else "classify")
    assert table.y.dtype == (np.float64 if classes is None else np.int64)


def test_npz(tmp_path):
    X, y = load_digits()
    np.savez(tmp_path / "d.npz", X=X.reshape(-1, 8, 8), y=y)
    table = load_table(tmp_path / "d.npz", target="y")
    assert np.array_equal(table.X, X) and np.array_equal(table.y, y)
    assert table.features == [str(i) for i in range(64)]
    assert table.classes == [str(i) for i in range(10)]
    np.savez(tmp_path / "c.npz", age=[1.0, 2], colour=["red", "blue"], y=[[0.5], [1]])
    table = load_table(tmp_path / "c.npz", target="y")
    assert table.features == ["age", "colour=blue", "colour=red"]
    assert table.X.tolist() == [[1, 0, 1], [2, 1, 0]] and table.y.tolist() == [0.5, 1]


def test_npy(tmp_path):
    path = tmp_path / "m.npy"
    np.save(path, np.array([[1, 5, 2], [3, 6, 4]], np.uint8))
    table = load_table(path, target=1)
    assert table.X.tolist() == [[1, 2], [3, 4]] and table.y.tolist() == [5, 6]
    kinds = np.dtype([("x", "<f4"), ("colour", "S4"), ("y", "<i8")])
    np.save(path, np.array([(1.5, b"red", 0), (2, b"blue", 1)], kinds))
    table = load_table(path, target="y", task="classify")
    assert table.features == ["x", "colour=blue", "colour=red"] and table.classes == ["0", "1"]


# ---- reading another file in the same way ----


@pytest.fixture
def table(tmp_path):
    text = "id,colour,size,y\n7,red,1,a\n8,blue,2,b\n"
    return load_table(write(tmp_path, text), target="y", ignore=["id"])


def test_columns_of_another_file_are_found_by_name(tmp_path, table):
    schema = Schema.of(json.loads(json.dumps(table.schema.state_dict())))
    assert schema == table.schema
    X, unused = schema.read(write(tmp_path, "size;more;colour\n5;?;red\n6;;red\n"))
    assert X.tolist() == [[0, 1, 5], [0, 1, 6]] and unused == ["more"]
    X, unused = schema.read(write(tmp_path, "y,colour,size,id\n,blue,5,\n"))
    assert X.tolist() == [[1, 0, 5]] and unused == []


@pytest.mark.parametrize(
    "text, message",
    [
        ("id,y\n1,a\n", "missing columns 'colour', 'size'; it has 'id', 'y'"),
        ("colour,Size\nred,1\n", "missing column 'size'"),
        ("colour,size,size\nred,1,2\n", "'size' names several columns"),
        ("colour,size\nred,1\n\ngreen,2\n", "line 4, column 'colour': 'green' was not seen"),
        ("colour,size\n5,1\n", "column 'colour': expected one of 'blue', 'red', got the number 5"),
        ("colour,size\nred,big\n", "line 2, column 'size': expected a number, got 'big'"),
        ("colour,size\nred,\n", "line 2, column 'size': the value is missing"),
    ],
)
def test_other_columns_are_refused(tmp_path, table, text, message):
    path = write(tmp_path, text, "new.csv")
    with pytest.raises(ValueError) as error:
        table.schema.read(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_columns_without_names_are_found_by_place(tmp_path):
    schema = load_table(write(tmp_path, "5,1,2\n6,3,4\n"), target=0).schema
    for text in ("9,1,2\n", "1,2\n"):  # with the target, and without
        assert schema.read(write(tmp_path, text))[0].tolist() == [[1, 2]]
    np.save(tmp_path / "new.npy", [[1, 2]])
    assert schema.read(tmp_path / "new.npy")[0].tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="expected 2 columns of features, or 3 with '0', got 4"):
        schema.read(write(tmp_path, "1,2,3,4\n"))


def test_features_of_npz_are_those_of_npy(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.ones((3, 2)), y=[0.5, 1, 2])
    schema = load_table(tmp_path / "d.npz", target="y").schema
    np.save(tmp_path / "new.npy", [[1, 2]])
    assert schema.read(tmp_path / "new.npy")[0].tolist() == [[1, 2]]


def test_matrix_for_named_columns(tmp_path, table):
    np.save(tmp_path / "new.npy", [[1, 2]])
    with pytest.raises(ValueError, match="its columns have no names, expected 'colour', 'size'"):
        table.schema.read(tmp_path / "new.npy")


@pytest.mark.parametrize("state", [{}, {"columns": 5, "texts": {}, "named": True}, {"x": 1}])
def test_a_schema_of_nothing(state):
    with pytest.raises(ValueError, match="not what state_dict gave"):
        Schema.of(state)


# ---- bad files ----

BAD = {
    "": "the file is empty",
    "\n \n": "the file is empty",
    "a,y\n": "no rows follow the line of names",
    "a,y\n1,2\n\n3\n": "line 4: expected 2 fields as in the first line, got 1",
    "a,y\n1,2\n3,4,5\n": "line 3: expected 2 fields as in the first line, got 3",
    "a,y\n1,2\n,2\n,2\n": "line 3, column 'a': the value is missing (and 1 more in this column)",
    "a,y\n1,NA\n": "line 2, column 'y': the value is missing",
    "a,y\n1,2\n1,nan\n": "line 3, column 'y': the value is missing",
    "a,y\nx,2\n?,2\n": "line 3, column 'a': the value is missing",
    "a,y\n-inf,2\n": "line 2, column 'a': the number is infinite",
    "a,y\n1,inf\n": "line 2, column 'y': expected a finite number",
    "a,y\n1,2\n3,2\nold,2\n": "line 4, column 'a': 'old' is no number, as the other values are",
    "a,y\nb,2\nc,2\n5,2\n": "line 4, column 'a': 5 is a number among texts",
    "a,y\n1_000,2\n1,2\n": "line 2, column 'a': '1_000' is no number",
    'a,y\n"1,2\n': "line 2: unexpected end of data",
    'a,y\n"1"2,3\n': "line 2: ',' expected after",
    "a,a,y\n1,2,3\n": "'a' names several columns",
    "y,y,a\n1,2,3\n": "'y' names several columns; give the number",
    ",a,y\n1,2,3\n": "column 0 has no name",
    "a,b\n1,2\n": "target: no column 'y'; it has 'a', 'b'",
    "y\n1\n": "no column is left to learn from",
    "a,y\n" + "".join(f"t{i},1\n" for i in range(101)): "101 different ones, more than 100",
    b"a,y\n\xff,1\n": "not a text in UTF-8",
    b"PK\x03\x04\x00\x00,y\n1,2\n3\n": "data.csv: line 3",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_bad_csv(tmp_path, text):
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as error:
        load_table(path, target="y")
    assert BAD[text] in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_arrays(tmp_path):
    def message(path, **options):
        with pytest.raises(ValueError) as error:
            load_table(path, **options)
        return str(error.value)

    path = tmp_path / "a.npy"
    np.save(path, np.ones(3))
    assert "expected a matrix (rows, columns) or a structured array" in message(path)
    np.save(path, np.ones((0, 3)))
    assert "the table has no rows" in message(path)
    np.save(path, np.array([[1, np.nan]]))
    assert "row 0, column '1': the value is missing" in message(path)
    np.save(path, np.array([[1j]]))
    assert "column '0': expected numbers or texts, got complex128" in message(path)
    np.save(path, np.array([[{}]]))
    assert "not a sound .npy file" in message(path)
    path.write_bytes(b"\x93NUMPY\1\0\x10")
    assert "not a sound .npy file" in message(path)
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((3, 2)), y=np.ones(4))
    assert "the arrays differ in rows: X (3,), y (4,)" in message(path, target="y")
    np.savez(path, A=np.ones((3, 2)), B=np.ones((3, 2)))
    assert "which array has the features: A, B? Name it X" in message(path)
    np.savez(path)
    assert "the table has no columns" in message(path)
    path.write_bytes(b"PK\3\4 and no more")
    assert "not a sound .npz file" in message(path)
    assert "got the ending '.xlsx'" in message(write(tmp_path, "", "a.xlsx"))


def test_bad_arguments(tmp_path):
    path = write(tmp_path, IRIS)
    for options, kind, message in (
        ({"target": 3}, ValueError, "no column 3; its 3 columns have the numbers 0..2, or -3..-1"),
        ({"target": "-4"}, ValueError, "no column -4"),
        ({"target": 1.0}, TypeError, "target: expected a name or a number"),
        ({"target": True}, TypeError, "target: expected a name or a number"),
        ({"target": "x", "task": "guess"}, ValueError, "'classify' or 'regress', got 'guess'"),
        ({"target": 2, "ignore": ["species"]}, ValueError, "ignore: 2 is the target"),
        ({"ignore": ["x"]}, ValueError, "ignore: no column 'x'"),
        ({"target": 2, "task": "regress"}, ValueError, "line 2, column 'species': expected a num"),
    ):
        with pytest.raises(kind, match=message):
            load_table(path, **options)
    with pytest.raises(FileNotFoundError):
        load_table(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError):
        load_table(tmp_path / "nowhere.npz")


# ---- standardisation ----


def test_standardizer_values():
    X = np.array([[1.0, 5, 2], [3, 5, 4], [5, 5, 9]], np.float32)
    scale = Standardizer().fit(X)
    assert scale.mean.tolist() == [3, 5, 5]
    assert np.allclose(scale.std, [np.sqrt(8 / 3), 1, np.sqrt(26 / 3)], rtol=1e-15)
    Z = scale.transform(X)
    assert Z.dtype == np.float64 and Z[:, 1].tolist() == [0, 0, 0]
    assert np.allclose(scale.inverse_transform(Z), X, rtol=1e-15)
    again = Standardizer().load_state_dict({k: v.tolist() for k, v in scale.state_dict().items()})
    assert np.array_equal(again.transform(X), Z)


@pytest.mark.parametrize("rows", [1, 2, 3, 4095, 4096, 4097, 10_000])
def test_standardizer_is_exact_enough(rng, rows):
    X = rng.normal(1e6, 1, (rows, 3)) * [1, 1e-5, 1e5]
    X[:, 1] = 0.1  # its sum is not exact, its mean must be
    scale = Standardizer().fit(X)
    exact = X.astype(np.longdouble)
    assert np.allclose(scale.mean, exact.mean(axis=0).astype(float), rtol=1e-15)
    assert scale.mean[1] == 0.1 and scale.std[1] == 1
    if rows > 1:
        kept = scale.std[[0, 2]]
        assert np.allclose(kept, exact.std(axis=0).astype(float)[[0, 2]], rtol=1e-8)
    assert np.array_equal(scale.transform(X)[:, 1], np.zeros(rows))


@pytest.mark.parametrize(
    "X, message",
    [
        (np.ones((0, 2)), "0 rows"),
        (np.ones(3), r"expected shape \(rows, columns\), got \(3,\)"),
        ([[1, 2], [3, np.nan]], "column 1 holds NaN or inf"),
        ([[1e300], [-1e300]], "too large"),
    ],
)
def test_standardizer_refuses(X, message):
    with pytest.raises(ValueError, match=message):
        Standardizer().fit(X)


def test_standardizer_misused():
    with pytest.raises(ValueError, match="not fitted yet"):
        Standardizer().transform([[1]])
    with pytest.raises(ValueError, match="X has 2 columns, fit saw 1"):
        Standardizer().fit([[1], [2]]).transform([[1, 2]])
    for state in ({}, {"mean": [1]}, {"mean": [1], "std": [0]}, {"mean": [1, 2], "std": [1]}):
        with pytest.raises(ValueError, match="expected mean and std"):
            Standardizer().load_state_dict(state)
