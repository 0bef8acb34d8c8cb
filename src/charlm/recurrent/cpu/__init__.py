"""The fused engine on the CPU: kernels compiled by Numba."""
