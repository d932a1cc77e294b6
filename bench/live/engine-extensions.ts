// What the cases have the engine do on its own thread: put pages on the memory device, and let it write them.

import { assert } from '../../src/base/assert.ts'
import type { Engine } from '../../src/heap/engine/engine.ts'
import { MemoryEngineDevice } from '../../src/heap/engine/memory-device.ts'
import type { ByteRange } from '../../src/heap/engine/protocol.ts'
import type { Placement } from '../../src/hmm/policy.ts'

export interface WriteOrder {
  readonly range: ByteRange
  /** Whether the pages keep their frames in system memory. */
  readonly placement: Placement
}

/** A launch that stores one word to each page of a range, so that every page has to be copied on its way back. */
export async function write(engine: Engine, { range, placement }: WriteOrder): Promise<null> {
  const [device] = engine.devices
  assert(device instanceof MemoryEngineDevice, 'the heap has a memory device')
  const begin = () =>
    device.handle.run({ name: 'write', write: [range], placement }, (memory) => {
      for (const { bytes } of memory.pieces(range, 'write')) for (let i = 0; i < bytes.length; i += 4096) bytes[i]++
    })
  await engine.launch({ read: [], write: [range] }, begin)
  return null
}
