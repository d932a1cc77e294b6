// Part of a heap as a range of a GPUBuffer, for whatever the program or a library does with buffers. The engine has to be on the thread
// of the program for it: a GPUDevice does not travel between threads.

import type { BufferRange } from '../devices/webgpu/with-buffer.ts'
import type { EngineDevice } from './engine/device.ts'
import type { Engine } from './engine/engine.ts'
import { errorOf, failureOf, Refusal } from './engine/failure.ts'
import type { ByteRange } from './engine/protocol.ts'

export type { BufferRange }

export interface WithBufferOptions {
  /** Name of the device. Default: the first GPU. */
  readonly device?: string
}

/** Lends the place of a range of the heap. Claims it before it returns; rejects with a HeapError, or with what `use` threw. */
export type BufferLender = <T>(
  range: ByteRange,
  write: boolean,
  device: string | null,
  use: (range: BufferRange) => T | Promise<T>,
) => Promise<T>

/** A device that has buffers. */
type Lending = EngineDevice & Required<Pick<EngineDevice, 'lend'>>

/** Lends what the devices of an engine on this thread have. */
export function lenderOf(engine: Engine): BufferLender {
  return async <T>(
    range: ByteRange,
    write: boolean,
    name: string | null,
    use: (range: BufferRange) => T | Promise<T>,
  ): Promise<T> => {
    const used: { value: T }[] = []
    const failed: { error: unknown }[] = []
    const run = async (place: BufferRange): Promise<void> => {
      try {
        used.push({ value: await use(place) })
      } catch (error) {
        failed.push({ error })
        throw error
      }
    }
    try {
      const device = findDevice(engine.devices, name)
      const uses = write ? { read: [], write: [range] } : { read: [range], write: [] }
      await engine.launch(uses, () => device.lend(range, write, run))
    } catch (error) {
      throw failed.length > 0 ? failed[0].error : errorOf(failureOf(error))
    }
    return used[0].value
  }
}

function findDevice(devices: readonly EngineDevice[], name: string | null): Lending {
  const device = devices.find((each) => (name === null ? lends(each) : each.name === name))
  if (device !== undefined && lends(device)) return device
  const what = device === undefined ? (name === null ? 'no GPU' : `no device "${name}"`) : `no GPU behind "${name}"`
  throw new Refusal('NO_DEVICE', `withBuffer: the heap has ${what}`)
}

function lends(device: EngineDevice): device is Lending {
  return device.lend !== undefined
}
