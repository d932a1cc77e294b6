// What live memory costs: page faults that JavaScript serves, against C and against what the kernel can do at best.

import { preparePageCopy } from './core/page-copy.ts'
import type { BenchCase, Suite } from './harness.ts'
import { prepareSingleFaults } from './live/faults.ts'
import { prepareFirstReadAtBest, prepareFirstReadFreed, prepareFirstReadKept } from './live/first-read.ts'
import { prepareFootprint, prepareIdle, prepareOpening } from './live/opening.ts'
import { prepareResident } from './live/resident.ts'
import { prepareSwap } from './live/swap.ts'

/** MiB that a heap may cost before it is touched. */
const FOOTPRINT_MAX = 50
/** Part of one processor that a heap may use while nobody uses it. */
const IDLE_MAX = 0.01

const cases: BenchCase[] = [
  {
    name: 'fault',
    summary:
      'Touches of 4096 fresh pages of a live heap, no two neighbours in a row; against a handler in C with epoll that gives the ' +
      'page to the file and maps it. All threads of both on one processor.',
    unit: 'ns/page',
    better: 'lower',
    goal: 1.5,
    prepare: prepareSingleFaults,
  },
  {
    name: 'first-read-kept',
    summary:
      'First read of 1 GiB that a memory device has written, one word per page, where the pages kept their frames in system ' +
      'memory; against copying 1 GiB between two arrays.',
    unit: 'GiB/s',
    better: 'higher',
    goal: 0.4,
    prepare: prepareFirstReadKept,
  },
  {
    name: 'first-read-bound',
    summary:
      'What no heap can beat in that: a thread that copies pieces of 2 MiB, and one that maps them and reads a word per page; against ' +
      'copying 1 GiB between two arrays.',
    unit: 'GiB/s',
    better: 'higher',
    goal: 0.4,
    prepare: prepareFirstReadAtBest,
  },
  {
    name: 'first-read-freed',
    summary:
      'The same where the frames were freed; against UFFDIO_COPY of 1 GiB from memory to an empty file, 2 MiB at a time.',
    unit: 'GiB/s',
    better: 'higher',
    goal: 0.8,
    prepare: prepareFirstReadFreed,
  },
  {
    name: 'resident',
    summary:
      'A loop that reads and writes every element of a Float32Array whose pages are all there; against a plain one.',
    unit: 'elements/ns',
    better: 'higher',
    goal: 0.98,
    prepare: prepareResident,
  },
  {
    name: 'swap',
    summary:
      'Changing a word in each page of 2 GiB with 512 MiB of memory, 64 MiB a round: as much goes to swap and comes back; against a ' +
      'plain loop that writes blocks of 2 MiB to a file, gives their memory back, and reads others into fresh pages.',
    unit: 'GiB/s',
    better: 'higher',
    goal: 0.7,
    prepare: prepareSwap,
  },
  {
    name: 'open',
    summary: 'Opening a heap of 16 GiB; against starting a worker that does nothing.',
    unit: 'ms',
    better: 'lower',
    goal: 3,
    prepare: prepareOpening,
  },
  {
    name: 'footprint',
    summary: `Resident memory that opening a heap of 16 GiB adds to the process; against ${FOOTPRINT_MAX} MiB.`,
    unit: 'MiB',
    better: 'lower',
    goal: 1,
    prepare: () => prepareFootprint(FOOTPRINT_MAX),
  },
  {
    name: 'idle',
    summary: `Processor time of a process with an open heap that nobody uses; against ${100 * IDLE_MAX} % of the time.`,
    unit: 'ms/s',
    better: 'lower',
    goal: 1,
    prepare: () => prepareIdle(IDLE_MAX),
  },
]

export const live: Suite = {
  name: 'live',
  summary: 'page faults on ordinary typed arrays, served in JavaScript',
  baseline: {
    summary: 'Plain copy between two buffers of 256 MiB, per 4 KiB page.',
    unit: 'ns/page',
    prepare: preparePageCopy,
  },
  cases,
}
