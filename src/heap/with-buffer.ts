// Part of a heap as a range of a GPUBuffer, for whatever the program or a library does with buffers. The engine has to be on the thread
// of the program for it: a GPUDevice does not travel between threads.

import type { BufferRange } from '../devices/webgpu/with-buffer.ts'
import type { EngineDevice } from './engine/device.ts'
import type { Engine } from './engine/engine.ts'
import { errorOf, failureOf, launchRefusalOf, Refusal } from './engine/failure.ts'
import type { ByteRange } from './engine/protocol.ts'

export type { BufferRange }

/** Where arrays are lent as buffers. */
export interface WithBufferOptions {
  /** Name of the device. Default: the first GPU. */
  readonly device?: string
}

/** What is to be lent, and how. */
export interface LendRequest {
  readonly ranges: readonly ByteRange[]
  readonly write: boolean
  /** Name of the device; null for the first GPU. */
  readonly device: string | null
}

/** Lends the places of ranges of the heap. Claims them before it returns; rejects with a HeapError, or with what `use` threw. */
export type BufferLender = <T>(
  request: LendRequest,
  use: (ranges: readonly BufferRange[]) => T | Promise<T>,
) => Promise<T>

/** A device that has buffers. */
type Lending = EngineDevice & Required<Pick<EngineDevice, 'lend'>>

/** Lends what the devices of an engine on this thread have. */
export function lenderOf(engine: Engine): BufferLender {
  return async <T>(
    { ranges, write, device: name }: LendRequest,
    use: (ranges: readonly BufferRange[]) => T | Promise<T>,
  ): Promise<T> => {
    const used: { value: T }[] = []
    const failed: { error: unknown }[] = []
    const run = async (places: readonly BufferRange[]): Promise<void> => {
      try {
        used.push({ value: await use(places) })
      } catch (error) {
        failed.push({ error })
        throw error
      }
    }
    try {
      const device = findDevice(engine.devices, name)
      const uses = write ? { read: [], write: ranges } : { read: ranges, write: [] }
      await engine.launch(uses, () => device.lend(ranges, write, run))
    } catch (error) {
      throw failed.length > 0 ? failed[0].error : errorOf(failureOf(launchRefusalOf(error)))
    }
    return used[0].value
  }
}

/** Milliseconds after which somebody who lends something has to be told what that means. */
const LONG = 10_000

/** `use`, and a notice if it takes long: should it wait for something that the device is to do, neither of them ever ends. */
export function noticeIfLong<T>(
  use: (ranges: readonly BufferRange[]) => T | Promise<T>,
  names: readonly string[],
  onNotice: (text: string) => void,
): (ranges: readonly BufferRange[]) => Promise<T> {
  return async (ranges) => {
    const what = names.map((name) => `"${name}"`).join(', ')
    const timer: unknown = setTimeout(() => {
      const wait = 'everything else on that device waits for it, so it must not wait for any of that'
      onNotice(`hetmem: the callback of withBuffer has had ${what} for ${LONG / 1000} s: ${wait}`)
    }, LONG)
    // In Node it would keep the process alive.
    ;(timer as { unref?: () => void }).unref?.()
    try {
      return await use(ranges)
    } finally {
      clearTimeout(timer as number)
    }
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
