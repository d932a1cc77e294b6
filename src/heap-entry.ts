// What `hetmem` has on every runtime: everything but `openHeap`, which index.ts and browser-entry.ts add from their platform.

export { AssertionError } from './base/assert.ts'
export { formatSize, parseSize, type Size, type SizeText } from './base/size.ts'
export type { OnLost } from './devices/memory/index.ts'
export { ACCESS_OPTIONS, type AccessOption, type PrefetchOptions } from './heap/access-options.ts'
export type { AllocOptions } from './heap/allocation.ts'
export {
  ARRAY_TYPES,
  type ArrayOf,
  type ArrayType,
  type ArrayTypeName,
  type HeapArray,
  type HeapView,
} from './heap/array-types.ts'
export type {
  AdapterOption,
  DeviceOption,
  DeviceSpec,
  MemoryDeviceSpec,
  WebGpuDeviceSpec,
} from './heap/device-options.ts'
export {
  ADVICE,
  type Advice,
  type DeviceStats,
  type MemoryStats,
  PLACES,
  type Place,
  SKIP_REASONS,
  type Skipped,
  type SkipReason,
} from './heap/engine/protocol.ts'
export type { EngineWorker } from './heap/explicit/channel.ts'
export type { DataSource, ReadableStreamLike } from './heap/files.ts'
export type { Heap } from './heap/heap.ts'
export type { Pointer } from './heap/heap-arrays.ts'
export {
  type ElementRange,
  HEAP_ERROR_CODES,
  HeapError,
  type HeapErrorCode,
  HeapRangeError,
  HeapTypeError,
  type Misuse,
  OwnershipError,
} from './heap/heap-error.ts'
export type { HeapHandle } from './heap/heap-handle.ts'
export {
  type AttachOptions,
  HEAP_MODES,
  type HeapMode,
  type HeapOptions,
  MODE_OPTIONS,
  type ModeOption,
  UNFREED_OPTIONS,
  type UnfreedOption,
} from './heap/heap-options.ts'
export type { LoadOptions, MapOptions } from './heap/map-options.ts'
export type { SwapSpec } from './heap/memory-options.ts'
export type {
  CloseReceipt,
  HeapStats,
  LoadReceipt,
  PinReceipt,
  Receipt,
  Residency,
  ResidencyRun,
  UnfreedArray,
} from './heap/receipts.ts'
export type { Batch, RunOptions } from './heap/run.ts'
export type { RunPages, RunReceipt, RunTimes } from './heap/run-receipt.ts'
export type { Scope } from './heap/scope.ts'
export type { TraceOptions } from './heap/trace-options.ts'
export type { BufferRange, WithBufferOptions } from './heap/with-buffer.ts'
export * from './kernel/index.ts'
export type { SwapStats } from './mm/swap.ts'
export type { Counters } from './trace/counters.ts'
export type { Sink } from './trace/tracer.ts'
