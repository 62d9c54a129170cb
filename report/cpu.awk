# The lock without what is opened on a GPU only: `awk -f report/cpu.awk requirements.txt`.
# The registry's torch for Linux is linked with most of CUDA and does not start without the rest.
/^[A-Za-z0-9]/ { keep = $0 !~ /^(triton|cuda-bindings|cuda-pathfinder|nvidia-(cusolver|nvjitlink|cuda-cccl|nvtx))==/ }
keep
