// The trace of a search in a graph that is four times as large as device memory, made up, but with everything in it that a real one
// has: edges stream through the device and push each other out, levels stay, the CPU looks at some in between. The same each time.

import { CAUSES, type Cause, type TraceEvent } from '../../src/trace/events.ts'
import type { Trace } from '../../src/trace/jsonl.ts'

const PAGE = 4096
const MIB = 2 ** 20
const DEVICE = { device: 'gpu 0' }

/** Arrays with odd names too: a report has to show them as they are. */
const ARRAYS = {
  edges: { allocation: 'edges', start: 16 * MIB, end: 48 * MIB },
  levels: { allocation: 'levels <of "all" & more>', start: 64 * MIB, end: 66 * MIB },
  frontier: { allocation: 'a rather long name for the frontier of the search', start: 80 * MIB, end: 81 * MIB },
}
type Place = (typeof ARRAYS)[keyof typeof ARRAYS]

const WINDOW = MIB
const DEVICE_MEMORY = 8 * MIB

/** `npasses` times through the graph; one is some 200 events. */
export function sampleTrace(npasses = 12): Trace {
  const random = makeRandom()
  const events: TraceEvent[] = []
  let time = 1000
  const emit = (event: object, passes = 1 + 30 * random()) => {
    time += passes
    events.push({ time, ...event } as TraceEvent)
  }
  emit({ kind: 'device', ...DEVICE, nbytes: DEVICE_MEMORY, hardware: 'SwiftShader Device (Subzero)' })
  for (const array of Object.values(ARRAYS)) emit({ kind: 'alloc', ...array, type: 'Uint32Array' })
  move(emit, ARRAYS.levels, 'prefetch')
  move(emit, ARRAYS.frontier, 'prefetch')

  const resident: number[] = []
  for (let pass = 0; pass < npasses; pass++) {
    for (let start = ARRAYS.edges.start; start < ARRAYS.edges.end; start += WINDOW) {
      const window = { ...ARRAYS.edges, start, end: start + WINDOW }
      if (!resident.includes(start)) {
        if (resident.length >= 5) {
          const cold = resident.shift() as number
          move(emit, { ...ARRAYS.edges, start: cold, end: cold + WINDOW }, 'eviction', 'device-to-host')
        }
        emit({ kind: 'device-fault', ...window, ...DEVICE, access: 'read', nfaults: WINDOW / PAGE })
        move(emit, window, pass % 3 === 2 ? 'prefetch' : 'fault')
        resident.push(start)
      }
      launch(emit, 'bfs <top down>', random)
    }
    launch(emit, 'swap frontier', random)
    for (let i = 0; i < 6; i++) touch(emit, ARRAYS.levels, i, random)
  }
  emit({ kind: 'thrashing', ...ARRAYS.levels, nmigrations: 9 })
  emit({ kind: 'throttling', ...ARRAYS.levels, delay: 2000 })
  emit({ kind: 'stall', ...ARRAYS.levels, duration: 64_000, thread: 4711, reason: 'a launch claims the page' }, 70_000)
  emit({ kind: 'swap-out', ...ARRAYS.edges, npages: 64, nbytes: 200_000 })
  emit({ kind: 'swap-in', ...ARRAYS.edges, npages: 64 })
  for (const array of Object.values(ARRAYS)) emit({ kind: 'free', ...array })
  const started = '2026-11-21T12:00:00.000Z'
  return { timeUnit: 'us', program: 'bfs.ts', mode: 'live', started, events }
}

type Emit = (event: object, passes?: number) => void

function move(emit: Emit, place: Place, cause: Cause, direction = 'host-to-device'): void {
  const npages = (place.end - place.start) / PAGE
  emit({ kind: 'migration', ...place, ...DEVICE, cause, direction, npages, nskipped: 0 })
  // One page in eight was not written since it came, and is not copied back.
  const nbytes = (npages * PAGE * (direction === 'host-to-device' ? 8 : 7)) / 8
  emit({ kind: 'transfer', ...place, ...DEVICE, cause, direction, nbytes, duration: npages / 2 }, npages)
}

function launch(emit: Emit, kernel: string, random: () => number): void {
  const times = { queued: 5 * random(), service: 900 * random() ** 2, compute: 300 + 200 * random(), flush: 0 }
  const duration = times.queued + times.service + times.compute
  const pages = { nslices: 1, nresident: 600, nduplicated: 0, npinned: 0, nmigrated: 256 }
  const mode = random() < 0.1 ? 'paged' : 'direct'
  emit({ kind: 'launch', ...DEVICE, kernel, mode, duration, transfer: times.service / 2, ...times, ...pages }, duration)
}

function touch(emit: Emit, { allocation, start }: Place, i: number, random: () => number): void {
  const page = { allocation, start: start + 16 * i * PAGE, end: start + 16 * (i + 1) * PAGE }
  const duration = 20 * 50 ** random()
  const cause = CAUSES[0]
  emit({ kind: 'migration', ...page, ...DEVICE, cause, direction: 'device-to-host', npages: 16, nskipped: 0 })
  emit({ kind: 'transfer', ...page, ...DEVICE, cause, direction: 'device-to-host', nbytes: 16 * PAGE })
  emit({ kind: 'cpu-fault', ...page, access: 'read', thread: 4711, duration }, duration)
  move(emit, page, 'coherence')
}

/** Numbers from 0 to 1, the same each time (mulberry32). */
function makeRandom(seed = 1): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
