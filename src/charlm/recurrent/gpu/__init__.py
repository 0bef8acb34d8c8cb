"""The fused engine on a GPU: kernels compiled by Triton."""
