// Numbers of the WebGPU specification. A browser has them as globals (`GPUBufferUsage.STORAGE`), other runtimes need not.

export const BUFFER_MAP_READ = 0x1
export const BUFFER_MAP_WRITE = 0x2
export const BUFFER_COPY_SRC = 0x4
export const BUFFER_COPY_DST = 0x8
export const BUFFER_INDEX = 0x10
export const BUFFER_VERTEX = 0x20
export const BUFFER_UNIFORM = 0x40
export const BUFFER_STORAGE = 0x80
export const BUFFER_INDIRECT = 0x100

export const MAP_READ = 0x1
export const MAP_WRITE = 0x2

export const STAGE_COMPUTE = 0x4
