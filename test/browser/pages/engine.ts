// The program of a worker that has the engine of a heap.

import 'hetmem/engine-worker'
