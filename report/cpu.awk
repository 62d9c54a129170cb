# The lock without what is opened on a GPU only: `awk -f report/cpu.awk requirements.txt`.
# The registry's torch for Linux is linked with most of CUDA and does not start without the rest; with -v own=1 PyTorch is
# installed apart, in builds of its own, and all of CUDA is left out.
/^[A-Za-z0-9]/ {
  keep = $0 !~ /^(triton|cuda-bindings|cuda-pathfinder|nvidia-(cusolver|nvjitlink|cuda-cccl|nvtx))==/
  if (own && $0 ~ /^(torch|torchvision|cuda-toolkit|nvidia-[a-z0-9-]+)==/) keep = 0
}
keep
