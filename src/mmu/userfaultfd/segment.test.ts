import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { findLiveMachine, LiveFixture, type LiveMachine } from '../../../test/helpers/live-fixture.ts'
import { ProgramThread } from '../../../test/helpers/program-thread.ts'
import { AssertionError } from '../../base/assert.ts'
import { KIB, MIB } from '../../base/size.ts'
import { SEGMENT_MAX, Segment } from './segment.ts'

const machine = await findLiveMachine()

/** Flags of the mapping at an address, as /proc/self/smaps names them. */
function flagsAt(addr: number): string[] {
  const smaps = readFileSync('/proc/self/smaps', 'utf8')
  const mapping = smaps.slice(smaps.search(new RegExp(`^0*${addr.toString(16)}-`, 'm')))
  return /^VmFlags: (.*)$/m.exec(mapping)?.[1].trim().split(' ') ?? []
}

function openMemoryFiles(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // the folder itself, closed by now
    }
  })
  return links.filter((link) => link.startsWith('/memfd:hetmem')).length
}

describe.skipIf(typeof machine === 'string')('Segment', () => {
  const { kernel } = machine as LiveMachine

  it('maps one file twice', () => {
    const segment = new Segment(kernel, MIB)
    const program = new Uint8Array(segment.buffer)
    segment.alias[5000] = 7
    expect([program.length, program[5000], segment.fileBytes()]).toEqual([MIB, 7, 4096])
    program[9000] = 8
    expect([segment.alias[9000], segment.fileBytes()]).toEqual([8, 8192])
    segment.populate(64 * KIB, 8 * KIB)
    segment.write(new Uint8Array(4096).fill(3), 128 * KIB)
    expect([segment.fileBytes(), program[128 * KIB + 17]]).toEqual([5 * 4096, 3])
    segment.punch(0, 64 * KIB)
    expect([program[5000], segment.alias[9000], program[128 * KIB]]).toEqual([0, 0, 3])
    segment.close()
  })

  it('is not inherited by child processes and not part of core dumps', () => {
    const segment = new Segment(kernel, MIB)
    for (const addr of [segment.userAddr, segment.aliasAddr]) {
      expect(flagsAt(addr)).toEqual(expect.arrayContaining(['sh', 'dc', 'dd']))
    }
    segment.close()
  })

  it('is so large that nearly 4 GiB lie in one', () => {
    const segment = new Segment(kernel, SEGMENT_MAX)
    expect([segment.buffer.byteLength, segment.nbytes]).toEqual([SEGMENT_MAX, SEGMENT_MAX])
    segment.alias[SEGMENT_MAX - 1] = 1
    expect([new Uint8Array(segment.buffer)[SEGMENT_MAX - 1], segment.fileBytes()]).toEqual([1, 4096])
    segment.close()
    expect(() => new Segment(kernel, SEGMENT_MAX + 1)).toThrow(AssertionError)
    expect(() => new Segment(kernel, 0)).toThrow(AssertionError)
  })

  it('is kept while it is open, and gives everything back when it is closed', () => {
    const memories = (globalThis as Record<symbol, unknown>)[Symbol.for('hetmem.userfaultfd.memories')] as Map<
      number,
      unknown
    >
    const files = openMemoryFiles()
    const segment = new Segment(kernel, 100)
    expect([segment.nbytes, openMemoryFiles(), memories.has(segment.userAddr)]).toEqual([64 * KIB, files + 1, true])
    const program = new Uint8Array(segment.buffer)
    const engine = segment.alias
    program[0] = 9
    segment.close()
    segment.close()
    expect([openMemoryFiles(), memories.has(segment.userAddr), program[0], engine[0]]).toEqual([files, false, 0, 0])
    program[1] = 1
    expect([program[1], engine[1]]).toEqual([1, 0])
    expect(() => segment.alias).toThrow(AssertionError)
  })

  it('is registered for missing pages, minor faults and write protection', async () => {
    const { support } = machine as LiveMachine
    const thread = new ProgramThread()
    const live = new LiveFixture(machine as LiveMachine, support.tracking, 16, thread)
    const flags = flagsAt(live.mmu.ranges[0].addr)
    expect(flags).toEqual(expect.arrayContaining(support.tracking === 'none' ? ['um', 'ui'] : ['um', 'uw', 'ui']))
    expect(flagsAt(live.mmu.frames.segments[0].aliasAddr).filter((flag) => flag.startsWith('u'))).toEqual([])
    live.close()
    await thread.end()
  })
})
