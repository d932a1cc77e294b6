// A heap with memory devices in any mode, for the tests that all modes have in common. What a mode cannot do is a capability
// that it lacks, and a test that needs it is skipped with its name.

import { describe } from 'vitest'
import { engineOf } from '../../src/heap/heap-engines.ts'
import type { HeapMode } from '../../src/heap/heap-options.ts'
import { ENGINE_PROGRAM } from '../../src/heap/live/engine-thread.ts'
import { type HeapOptions, openHeap } from '../../src/index.ts'
import * as extensions from './engine-extensions.ts'
import { ExtendedHeap } from './extended-heap.ts'
import { findLiveMachine } from './live-fixture.ts'
import { programUrl } from './programs.ts'

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
ENGINE_PROGRAM.url = programUrl('src/heap/live/engine-worker.ts')
ENGINE_PROGRAM.extensions = programUrl('test/helpers/engine-extensions.ts')

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

export class ModeFixture extends ExtendedHeap {
  /** A small heap with one device of 64 KiB, unless told otherwise. */
  static async open(mode: TestMode, options: HeapOptions = {}): Promise<ModeFixture> {
    const device = { kind: 'memory', memory: '64 KiB' } as const
    const heap = await openHeap({ mode: mode.name, size: '4 MiB', device, ...options })
    if (mode.capabilities.includes('own thread')) engineOf(heap).extensions = extensions
    return new ModeFixture(heap)
  }
}
