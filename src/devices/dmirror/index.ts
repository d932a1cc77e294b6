// The dmirror device: start with dmirror-device.ts.

export { Chunk, DeviceMemory, DMIRROR_KINDS, type DmirrorKind } from './device-memory.ts'
export { DMIRROR_CHUNK_PAGES, DmirrorDevice, type DmirrorOptions } from './dmirror-device.ts'
export { DmirrorHandle, type DmirrorResult } from './dmirror-handle.ts'
export { MirrorTable, TAG_ATOMIC, TAG_READ, TAG_WRITE } from './mirror-table.ts'
