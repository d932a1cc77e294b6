// The HMM driver of devices with memory of their own: start with README.md or device-driver.ts.

export * from './copy-list.ts'
export type { DemandPages, PageDemand } from './demand-pages.ts'
export * from './device-clock.ts'
export * from './device-driver.ts'
export { DeviceLostError, type LostRange } from './device-lost-error.ts'
export { LOST_BYTE, ON_LOST, type OnLost } from './device-parts.ts'
export type { DriverHandle } from './driver-handle.ts'
export * from './hardware.ts'
export type { DeclaredRange, DevicePiece, LaunchRanges } from './launch-ranges.ts'
export type { DeviceLimits, LaunchRequest, LaunchSlice, Program } from './launch-request.ts'
export * from './receipt.ts'
export { deviceTranslations, validateDevice } from './validate.ts'
