// A device without hardware: start reading at memory-device.ts, or at README.md.

export * from './device-clock.ts'
export { ON_LOST, type OnLost } from './device-parts.ts'
export type { Kernel, LaunchRequest } from './launch.ts'
export type { LaunchMemory, Piece } from './launch-memory.ts'
export { DeviceLostError, type LostRange } from './loss.ts'
export * from './memory-device.ts'
export type { MemoryDeviceHandle } from './memory-device-handle.ts'
export * from './receipt.ts'
export { memoryDeviceTranslations, validateMemoryDevice } from './validate.ts'
