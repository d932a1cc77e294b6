// Kernels for programs: what `hetmem` exports of them. Start with kernel.ts, or with README.md.

export {
  ARRAY_ACCESSES,
  type ArgumentValue,
  type ArgumentValues,
  type ArrayAccess,
  type ArrayArgument,
  type ArrayOptions,
  DIMENSIONS,
  type Dimension,
  type KernelArgument,
  type KernelArguments,
  read,
  readWrite,
  type SliceOption,
  type SliceSpec,
  type UniformArgument,
  uniform,
  write,
} from './argument.ts'
export * from './data-type.ts'
export { type Extent, type Indirect, indirect, type LaunchCount } from './grid.ts'
export { Kernel, type KernelSpec, kernel, PAGING_OPTIONS, type PagingOption } from './kernel.ts'
export { KernelError } from './kernel-error.ts'
export { type StructFields, type StructType, struct } from './struct-type.ts'
