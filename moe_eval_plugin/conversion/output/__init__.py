"""Write safetensors files one tensor at a time, into a folder that can be finished later."""
