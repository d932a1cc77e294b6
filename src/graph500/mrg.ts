// The random numbers of Graph500: a multiple recursive generator of order 5 modulo 2^31 - 1 (L'Ecuyer, Blouin and Couture 1993,
// table 3), the one that the benchmark's own generator uses. A step is a product with a fixed matrix, so a power of that matrix
// jumps ahead by any number of steps, and every edge of a graph can have a place of its own in the sequence.
//
// Products of two numbers of 31 bits do not fit a double: one factor is cut into a high and a low half of 16 bits.

/** The modulus, a Mersenne prime: 2^31 is 1, so a number is reduced by adding what is above bit 31 to what is below. */
const MODULUS = 2 ** 31 - 1

// The step: x[n] = STEP_1 * x[n-1] + STEP_5 * x[n-5]
const STEP_1 = 107374182
const STEP_5 = 104480

const ORDER = 5

/** Some number of steps as one: the high and the low halves of a matrix of 5 by 5, by rows. Made by `mrgJump`. */
export interface MrgJump {
  readonly high: Float64Array
  readonly low: Float64Array
}

export class Mrg {
  /** The last five numbers, newest first. */
  readonly state = new Float64Array(ORDER)

  /** Begins at the state that two seeds of up to 64 bits stand for. */
  constructor(seed1: bigint, seed2: bigint) {
    const bits30 = 0x3fff_ffffn
    this.state.set(
      [
        (seed1 & bits30) + 1n,
        ((seed1 >> 30n) & bits30) + 1n,
        (seed2 & bits30) + 1n,
        ((seed2 >> 30n) & bits30) + 1n,
        ((seed2 >> 60n) << 4n) + (seed1 >> 60n) + 1n,
      ].map(Number),
    )
  }

  /** The next number, from 0 to 2^31 - 2. */
  next(): number {
    const { state } = this
    const value = mrgStep(state[0], state[4])
    state.copyWithin(1, 0)
    state[0] = value
    return value
  }

  /** The next number from 0 to 1, exclusive, with all the bits that a double has. */
  nextDouble(): number {
    // 1 / (2^31 - 1) and its square, as the benchmark rounds them.
    return this.next() * 0.0000000004656612875245797 + this.next() * 0.0000000000000000002168404346990493
  }

  /** Goes ahead by the steps of `jump`. */
  skip({ high, low }: MrgJump): void {
    const { state } = this
    const z0 = state[0]
    const z1 = state[1]
    const z2 = state[2]
    const z3 = state[3]
    const z4 = state[4]
    for (let row = 0; row < ORDER; row++) {
      const i = row * ORDER
      state[row] = reduce(
        z0 * high[i] + z1 * high[i + 1] + z2 * high[i + 2] + z3 * high[i + 3] + z4 * high[i + 4],
        z0 * low[i] + z1 * low[i + 1] + z2 * low[i + 2] + z3 * low[i + 3] + z4 * low[i + 4],
      )
    }
  }
}

/** The number that follows, where `newest` is the last one and `oldest` came four before it. */
export function mrgStep(newest: number, oldest: number): number {
  const high = newest >>> 16
  return reduce(STEP_1 * high, STEP_1 * (newest & 0xffff) + STEP_5 * oldest)
}

/** `nsteps` steps, as one. */
export function mrgJump(nsteps: bigint): MrgJump {
  let power = IDENTITY
  let square = STEP
  for (let rest = nsteps; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) power = multiply(power, square)
    square = multiply(square, square)
  }
  return {
    high: Float64Array.from(power, (value) => Number(value >> 16n)),
    low: Float64Array.from(power, (value) => Number(value & 0xffffn)),
  }
}

/** (high * 2^16 + low) modulo 2^31 - 1, for high and low below 2^51. */
function reduce(high: number, low: number): number {
  const carry = Math.floor(high / 2 ** 31)
  const sum = (high - carry * 2 ** 31 + carry) * 0x10000 + low
  const above = Math.floor(sum / 2 ** 31)
  const value = sum - above * 2 ** 31 + above
  // As an integer, since what is done with it next is integer arithmetic.
  return (value >= MODULUS ? value - MODULUS : value) | 0
}

type Matrix = readonly bigint[]

const IDENTITY: Matrix = Array.from({ length: ORDER * ORDER }, (_, i) => (i % (ORDER + 1) === 0 ? 1n : 0n))

/** One step: the new number, and everything else moves down by a place. */
const STEP: Matrix = IDENTITY.map((_, i) => {
  if (i === 0) return BigInt(STEP_1)
  if (i === ORDER - 1) return BigInt(STEP_5)
  const [row, column] = [Math.floor(i / ORDER), i % ORDER]
  return row === column + 1 ? 1n : 0n
})

function multiply(a: Matrix, b: Matrix): Matrix {
  return a.map((_, i) => {
    const [row, column] = [Math.floor(i / ORDER), i % ORDER]
    let sum = 0n
    for (let k = 0; k < ORDER; k++) sum += a[row * ORDER + k] * b[k * ORDER + column]
    return sum % BigInt(MODULUS)
  })
}
