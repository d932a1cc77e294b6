// A heap with memory devices in any mode, for the tests that all modes have in common. What a mode cannot do is a capability
// that it lacks, and a test that needs it is skipped with its name. The engine may be on a thread of its own, so kernels have
// names (engine-extensions.ts), and the invariants of the machine are looked at over there.

import { describe } from 'vitest'
import type { HeapView } from '../../src/heap/array-types.ts'
import { HeapError } from '../../src/heap/heap-error.ts'
import type { HeapMode } from '../../src/heap/heap-options.ts'
import { ENGINE_PROGRAM } from '../../src/heap/live/engine-thread.ts'
import { engineOf, portOf } from '../../src/heap/open-heap.ts'
import { type Heap, type HeapArray, type HeapOptions, openHeap } from '../../src/index.ts'
import { compiledProgram } from './child-program.ts'
import type { FunctionLaunch, FunctionResult, LaunchArray } from './engine-extensions.ts'
import * as extensions from './engine-extensions.ts'
import { findLiveMachine } from './live-fixture.ts'

/** What only some modes do. */
export const CAPABILITIES = {
  traps: 'a touch brings its page',
  check: 'a touch of what is not the CPU’s is reported',
  'own thread': 'the engine is on the thread of the program',
  'ordinary memory': 'arrays can lie in ordinary memory',
  'any segments': 'segments can be of any size',
} as const
export type Capability = keyof typeof CAPABILITIES

export interface TestMode {
  readonly name: HeapMode
  readonly capabilities: readonly Capability[]
  /** Why it cannot be tried on this machine. */
  readonly missing: string | null
}

// The thread of an engine does not see the sources as the tests do.
ENGINE_PROGRAM.url = compiledProgram('src/heap/live/engine-worker.ts')
ENGINE_PROGRAM.extensions = compiledProgram('test/helpers/engine-extensions.ts')

/** Every mode, tried here or not. */
export async function findTestModes(): Promise<TestMode[]> {
  const live = await findLiveMachine()
  const user = await findLiveMachine({ sources: ['user-mode'] })
  const isFull = typeof live !== 'string' && live.support.mode === 'live'
  return [
    { name: 'explicit', capabilities: ['check', 'own thread', 'ordinary memory', 'any segments'], missing: null },
    {
      name: 'live',
      capabilities: ['traps'],
      missing: typeof live === 'string' ? live : isFull ? null : 'privileges: this user has faults of user mode only',
    },
    { name: 'live-user', capabilities: ['traps'], missing: typeof user === 'string' ? user : null },
  ]
}

/** Skips a test in a mode that lacks what it needs. */
export function requires(test: { skip(note: string): void }, mode: TestMode, ...needed: Capability[]): void {
  const lacking = needed.find((capability) => !mode.capabilities.includes(capability))
  if (lacking !== undefined) test.skip(`capability "${lacking}" (${CAPABILITIES[lacking]}) is not that of ${mode.name}`)
}

/** Runs a suite in every mode. One that cannot be tried is skipped, and its title says why. */
export async function describeModes(body: (mode: TestMode) => void): Promise<void> {
  for (const mode of await findTestModes()) {
    if (mode.missing === null) describe(mode.name, () => body(mode))
    else describe.skip(`${mode.name}: ${mode.missing}`, () => body(mode))
  }
}

export interface NamedLaunch {
  readonly read?: readonly HeapArray[]
  readonly write?: readonly HeapArray[]
  /** Index of the device. Default 0. */
  readonly device?: number
  readonly durable?: boolean
  /** For the kernel. */
  readonly data?: unknown
}

export class ModeFixture {
  readonly heap: Heap

  /** A small heap with one device of 64 KiB, unless told otherwise. */
  static async open(mode: TestMode, options: HeapOptions = {}): Promise<ModeFixture> {
    const device = { kind: 'memory', memory: '64 KiB' } as const
    const heap = await openHeap({ mode: mode.name, size: '4 MiB', device, ...options })
    if (mode.capabilities.includes('own thread')) engineOf(heap).extensions = extensions
    return new ModeFixture(heap)
  }

  constructor(heap: Heap) {
    this.heap = heap
  }

  /** Runs one of the kernels of engine-extensions.ts. */
  run(kernel: string, launch: NamedLaunch = {}): Promise<FunctionResult> {
    const { read = [], write = [], device = 0, durable = false, data = null } = launch
    const of = (array: HeapArray): LaunchArray => this.rangeOf(array)
    const args: FunctionLaunch = { kernel, device, read: read.map(of), write: write.map(of), durable, data }
    return this.extension('launch', args) as Promise<FunctionResult>
  }

  /** Calls a function of engine-extensions.ts. */
  extension(name: keyof typeof extensions, data: unknown = null): Promise<unknown> {
    return new Promise((resolve, reject) => {
      portOf(this.heap).call('extension', { name, data }, (reply) => {
        if (reply.ok) resolve(reply.answer)
        else reject(new HeapError(reply.failure.code, reply.failure.message))
      })
    })
  }

  /** Every invariant of the machine. Exact while nothing is in progress. */
  async check(): Promise<void> {
    await this.extension('validate')
  }

  /** Everything that was sent before has been done, as far as it does not wait for launches. */
  async settled(): Promise<void> {
    await this.heap.stats()
  }

  /** A character per page: `c` the CPU's, `s` shared for reading, `-` in system memory, `D` on the first device, `E` the second. */
  async places(array: HeapView): Promise<string> {
    const { devices } = await this.heap.stats()
    const { runs } = await this.heap.where(array)
    const letters: Record<string, string> = { cpu: 'c', shared: 's', system: '-', moving: 'm' }
    const letterOf = (place: string, device?: string): string => {
      const index = devices.findIndex(({ name }) => name === device)
      return index < 0 ? letters[place] : 'DEFGH'[index]
    }
    return runs.map(({ place, device, pages }) => letterOf(place, device).repeat(pages)).join('')
  }

  async close(): Promise<void> {
    await this.check()
    await this.heap.close()
  }

  private rangeOf(array: HeapArray): LaunchArray {
    const { buffer, byteOffset, byteLength } = array
    const inWord = byteOffset % 4
    const start = 4 * this.heap.ptr(new Uint8Array(buffer, byteOffset - inWord, 1)) + inWord
    return { start, end: start + byteLength, type: array.constructor.name as LaunchArray['type'] }
  }
}
