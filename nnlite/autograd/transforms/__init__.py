"""Derivatives as functions: vjp, jvp, jacobian, hvp, hessian."""
