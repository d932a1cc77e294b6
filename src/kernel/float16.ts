// Numbers of 16 bits (IEEE 754 binary16), which not every runtime can read and write yet.

const scratch = new DataView(new ArrayBuffer(4))

/** The number that 16 bits stand for. */
export function float16ToNumber(bits: number): number {
  const exponent = (bits >>> 10) & 31
  const fraction = bits & 0x3ff
  const sign = (bits & 0x8000) === 0 ? 1 : -1
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

/** The 16 bits nearest to a number; of two that are as near, the even one. */
export function numberToFloat16(value: number): number {
  scratch.setFloat32(0, value)
  const sign = scratch.getUint16(0) & 0x8000
  const size = Math.abs(value)
  if (Number.isNaN(value)) return 0x7e00
  // From here on a number is nearer to 2^16, which is infinity, than to the largest finite one.
  if (size >= 65520) return sign | 0x7c00
  // The distance of neighbours: 2^-24 for subnormal numbers.
  const exponent = Math.max(-14, Math.floor(Math.log2(size)))
  const step = 2 ** (exponent - 10)
  const steps = roundToEven(size / step)
  if (size < 2 ** -14) return sign | steps
  // 1024 steps are the hidden one; rounding up to 2048 carries into the exponent, which is right.
  return sign | (((exponent + 15) << 10) + steps - 1024)
}

function roundToEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest < 0.5 || (rest === 0.5 && floor % 2 === 0)) return floor
  return floor + 1
}
