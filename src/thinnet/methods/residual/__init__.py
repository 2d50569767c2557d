"""Methods that drop residual branches or whole layers."""
