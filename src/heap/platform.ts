// What differs between the runtimes that a heap can live in. Each has a file that says what it has to offer: on-node.ts, and on-web.ts
// for pages and their workers. The entry point of the package takes one of them, so a bundle for a page is without whatever is
// Node's (native modules, threads, files), and no bundler has to be told.

import type { Sink } from '../trace/sink.ts'
import type { DeviceSettings } from './device-options.ts'
import type { DeviceMaker } from './engine/make-device.ts'
import type { Channel } from './engine/remote-port.ts'
import type { EngineGuard } from './explicit/engine-thread.ts'
import type { FileOpener } from './files.ts'
import type { Heap } from './heap.ts'
import type { LiveHandle } from './heap-handle.ts'
import type { AttachSettings, HeapMode, HeapSettings } from './heap-options.ts'
import type { TraceSettings } from './trace-options.ts'

export interface Platform {
  /** Makes devices. They are loaded only then: without them a page loads a third less. */
  readonly makeDevice: DeviceMaker
  /** What the environment says about traces: HETMEM_TRACE. */
  traceVariable(): string | undefined
  /** Sinks that write the files of a trace, on this thread. Throws a HeapError if there is no file to be had. */
  openTraceFiles(trace: TraceSettings, mode: HeapMode): Sink[]
  /** Opens a file for reading, where there are files. Throws a HeapError BAD_FILE. */
  readonly openFile: FileOpener | null
  /** Opens a channel for all threads that know its name. Throws a HeapError NOT_IN_MODE where none takes shared memory. */
  openChannel(name: string): Channel
  /** Throws a HeapError NO_DEVICE for devices that this thread cannot have. */
  checkDevices(devices: readonly DeviceSettings[]): void
  readonly guardEngine: EngineGuard
  /** Opens a live heap, or says why there is none here, in words that a program may print. */
  openLive(settings: HeapSettings): Promise<Heap | string>
  /** Attaches the live heap of another thread. Rejects with a HeapError CLOSED. */
  attachLive(handle: LiveHandle, settings: AttachSettings): Promise<Heap>
}
