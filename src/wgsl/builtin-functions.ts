// What the builtin functions of WGSL return (section 17 of the specification), by the types of their arguments. Textures and
// samplers are no arguments of kernels here, so their functions have the type `unknown` where it depends on the texture.

import {
  BOOL,
  commonType,
  elementOf,
  F32,
  I32,
  type ScalarType,
  type StructType,
  type Type,
  U32,
  UNKNOWN,
  VOID,
  vector,
  withElement,
} from './types.ts'

type Rule = (args: readonly Type[]) => Type | null

const same: Rule = (args) => args[0] ?? null
const common: Rule = (args) =>
  args.slice(1).reduce<Type | null>((type, next) => type && commonType(type, next), args[0])
const element: Rule = (args) => (args.length === 0 ? null : elementOf(args[0]))
const fixed =
  (type: Type): Rule =>
  () =>
    type
/** The type of the first two arguments; the last one may be a scalar or a bool beside vectors. */
const firstTwo: Rule = (args) => commonType(args[0], args[1])
const pointee: Rule = ([pointer]) => {
  if (pointer?.kind !== 'pointer') return null
  return pointer.store.kind === 'atomic' ? pointer.store.element : pointer.store
}
const result = (name: string, members: Record<string, Type>): StructType => ({
  kind: 'struct',
  name,
  members: Object.entries(members).map(([member, type]) => ({
    name: member,
    type,
    align: null,
    size: null,
    node: null,
  })),
})

const RULES: ReadonlyMap<string, Rule> = new Map(
  (
    [
      [
        `abs acos acosh asin asinh atan atanh ceil cos cosh degrees exp exp2 floor fract inverseSqrt log log2 normalize
        quantizeToF16 radians round saturate sign sin sinh sqrt tan tanh trunc countLeadingZeros countOneBits
        countTrailingZeros firstLeadingBit firstTrailingBit reverseBits extractBits insertBits refract ldexp dpdx dpdxCoarse
        dpdxFine dpdy dpdyCoarse dpdyFine fwidth fwidthCoarse fwidthFine`,
        same,
      ],
      ['atan2 clamp cross faceForward fma max min pow reflect smoothstep step', common],
      ['mix select', firstTwo],
      ['distance dot length determinant', element],
      ['all any', fixed(BOOL)],
      ['arrayLength', fixed(U32)],
      ['storageBarrier workgroupBarrier textureBarrier atomicStore textureStore', fixed(VOID)],
      ['atomicLoad atomicAdd atomicSub atomicMax atomicMin atomicAnd atomicOr atomicXor atomicExchange', pointee],
      ['workgroupUniformLoad', pointee],
      [
        `dot4U8Packed pack4x8snorm pack4x8unorm pack4xI8 pack4xU8 pack4xI8Clamp pack4xU8Clamp pack2x16snorm pack2x16unorm
        pack2x16float`,
        fixed(U32),
      ],
      ['dot4I8Packed', fixed(I32)],
      ['unpack4x8snorm unpack4x8unorm', fixed(vector(4, F32))],
      ['unpack2x16snorm unpack2x16unorm unpack2x16float', fixed(vector(2, F32))],
      ['unpack4xI8', fixed(vector(4, I32))],
      ['unpack4xU8', fixed(vector(4, U32))],
      [
        `subgroupAdd subgroupExclusiveAdd subgroupInclusiveAdd subgroupMul subgroupExclusiveMul subgroupInclusiveMul
        subgroupMin subgroupMax subgroupAnd subgroupOr subgroupXor subgroupBroadcast subgroupBroadcastFirst subgroupShuffle
        subgroupShuffleDown subgroupShuffleUp subgroupShuffleXor quadBroadcast quadSwapX quadSwapY quadSwapDiagonal`,
        same,
      ],
      ['subgroupElect subgroupAll subgroupAny', fixed(BOOL)],
      ['subgroupBallot', fixed(vector(4, U32))],
      ['textureNumLayers textureNumLevels textureNumSamples', fixed(U32)],
      [
        `textureDimensions textureGather textureGatherCompare textureLoad textureSample textureSampleBias textureSampleCompare
        textureSampleCompareLevel textureSampleGrad textureSampleLevel textureSampleBaseClampToEdge`,
        fixed(UNKNOWN),
      ],
      ['transpose', ([m]) => (m?.kind === 'matrix' ? { ...m, columns: m.rows, rows: m.columns } : null)],
      [
        'atomicCompareExchangeWeak',
        (args) => {
          const old = pointee(args)
          return (
            old &&
            result(`__atomic_compare_exchange_result_${(old as ScalarType).name}`, { old_value: old, exchanged: BOOL })
          )
        },
      ],
      ['modf', ([x]) => x && result('__modf_result', { fract: x, whole: x })],
      [
        'frexp',
        ([x]) => {
          const isAbstract = elementOf(x)?.name === 'abstract-float'
          return x && result('__frexp_result', { fract: x, exp: isAbstract ? x : withElement(x, I32) })
        },
      ],
    ] satisfies [string, Rule][]
  ).flatMap(([names, rule]) => names.split(/\s+/).map((name): [string, Rule] => [name, rule])),
)

export function isBuiltinFunction(name: string): boolean {
  return RULES.has(name) || name === 'bitcast'
}

/** The type of a call, `void` if there is no result, null if no such call exists. `bitcast` is not among them. */
export function builtinResult(name: string, args: readonly Type[]): Type | null {
  if (args.some((type) => type.kind === 'unknown')) return UNKNOWN
  return RULES.get(name)?.(args) ?? null
}

/** Functions after which other invocations of the workgroup may see what this one did. */
export const BARRIERS: ReadonlySet<string> = new Set([
  'workgroupBarrier',
  'storageBarrier',
  'textureBarrier',
  'workgroupUniformLoad',
])
