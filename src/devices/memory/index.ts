// A device without hardware: start reading at memory-device.ts. What it shares with other devices is in ../driver.

export {
  type DeviceClock,
  DeviceLostError,
  deviceTranslations,
  formatReceipt,
  type LaunchReceipt,
  type LaunchRequest,
  type LostRange,
  ON_LOST,
  type OnLost,
  SYSTEM_CLOCK,
  VirtualClock,
} from '../driver/index.ts'
export type { LaunchMemory, Piece } from './launch-memory.ts'
export * from './memory-device.ts'
export type { Copier, CopierMaker } from './memory-hardware.ts'
