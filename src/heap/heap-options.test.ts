import { afterEach, describe, expect, it, vi } from 'vitest'
import { GIB } from '../base/size.ts'
import type { HeapOptions } from './heap-options.ts'
import { parseHeapOptions } from './heap-options.ts'

afterEach(() => {
  vi.unstubAllEnvs()
  vi.unstubAllGlobals()
})

const WORKER = { postMessage: () => {}, terminate: () => {} }

/** What a GPUDevice is known by. */
const GPU = { createBuffer: () => {}, queue: {} }

const parse = (options: unknown) => parseHeapOptions(options as HeapOptions)

describe('parseHeapOptions()', () => {
  it('has a default for every option', () => {
    expect(parse({})).toMatchObject({
      mode: 'auto',
      size: 16 * GIB,
      segmentMax: 4 * GIB,
      shared: true,
      devices: [],
      check: true,
      trace: { files: [], allocations: false, sites: false, sinks: [], verbose: false },
      unfreed: 'ignore',
      liveOnly: [],
    })
  })

  it('takes sizes as numbers and as texts, in whole pages', () => {
    expect(parse({ size: '1.5 GiB', segments: 5000 })).toMatchObject({ size: 1.5 * GIB, segmentMax: 8192 })
  })

  it('numbers devices without a name', () => {
    const { devices } = parse({
      device: [{ kind: 'memory' }, { kind: 'memory', memory: 1 }, { kind: 'memory', name: 'gpu' }],
    })
    expect(devices.map(({ name, memory }) => [name, memory])).toEqual([
      ['memory', 64 * 2 ** 20],
      ['memory 2', 4096],
      ['gpu', 64 * 2 ** 20],
    ])
    expect(
      parse({ device: { kind: 'memory', bandwidth: '10 GiB', latency: 5, onLost: 'fill' } }).devices,
    ).toMatchObject([{ bandwidth: 10 * GIB, latency: 5, onLost: 'fill' }])
  })

  it('takes a GPU by default, one of the program makes the heap explicit', () => {
    const defaults = { kind: 'webgpu', adapter: null, gpuDevice: null, deadline: 120e6, onLost: 'sigbus' }
    expect(parse({ device: {} })).toMatchObject({
      mode: 'auto',
      devices: [{ ...defaults, name: 'webgpu', memory: 256 * 2 ** 20 }],
    })
    expect(parse({ device: [{ memory: '1 GiB', adapter: 'software' }, GPU, { kind: 'memory' }] })).toMatchObject({
      mode: 'explicit',
      devices: [
        { ...defaults, memory: GIB, adapter: 'software' },
        { ...defaults, name: 'webgpu 2', gpuDevice: GPU },
        { kind: 'memory', name: 'memory 3' },
      ],
    })
    expect(parse({ device: { gpuDevice: GPU, memory: 4096, name: 'mine' } }).devices).toMatchObject([
      { name: 'mine', memory: 4096, gpuDevice: GPU },
    ])
  })

  it('does not check in production', () => {
    vi.stubEnv('NODE_ENV', 'production')
    expect([parse({}).check, parse({ check: true }).check]).toEqual([false, true])
    vi.stubGlobal('process', undefined)
    const { check } = parse({})
    vi.unstubAllGlobals()
    expect(check).toBe(true)
  })

  it('does without shared memory where there is none', () => {
    vi.stubGlobal('SharedArrayBuffer', undefined)
    expect(parse({}).shared).toBe(false)
    expect(() => parse({ shared: true })).toThrow('a web page needs cross-origin isolation')
    expect(() => parse({ engine: WORKER })).toThrow('a web page needs cross-origin isolation')
  })

  it('is explicit with the engine in a worker', () => {
    expect(parse({}).engineWorker).toBeNull()
    expect(parse({ engine: WORKER })).toMatchObject({ mode: 'explicit', engineWorker: WORKER })
  })

  it.each([
    [7, 'options is 7, wanted an object with mode, size,'],
    [null, 'options is null'],
    [{ sizes: 1 }, 'options.sizes is no option, wanted mode, size,'],
    [{ mode: 1 }, 'mode is 1, wanted one of auto, live, live-user, explicit'],
    [{ size: '64 MB' }, `size is "64 MB", wanted bytes or a text like '64 MiB'`],
    [{ size: null }, 'size is null, wanted bytes'],
    [{ shared: 'yes' }, 'shared is "yes", wanted true or false'],
    [{ engine: 'worker' }, 'engine is "worker", wanted a worker'],
    [{ engine: WORKER, mode: 'live' }, 'engine is a worker in live mode'],
    [{ check: 1 }, 'check is 1, wanted true or false'],
    [{ device: 'gpu' }, 'device is "gpu", wanted an object with kind, name,'],
    [{ device: [null] }, 'device[0] is null, wanted an object with kind, name,'],
    [{ device: { latency: 1 } }, 'device.latency is no option, wanted kind, name, memory, onLost, deadline, adapter,'],
    [{ device: { kind: 1 } }, 'device.kind is 1, wanted one of webgpu, memory'],
    [{ device: { gpuDevice: {} } }, 'device.gpuDevice is Object, wanted a GPUDevice'],
    [
      { device: { gpuDevice: GPU, adapter: 'software' } },
      'device.adapter is "software", wanted none beside a gpuDevice',
    ],
    [{ device: { deadline: '1 s' } }, 'device.deadline is "1 s", wanted milliseconds from 1'],
    [{ device: GPU, mode: 'live' }, 'mode is live, wanted explicit: device "webgpu" is a GPUDevice of this thread'],
    [{ device: GPU, engine: WORKER }, 'engine is a worker, wanted none: device "webgpu" is a GPUDevice of this thread'],
    [{ device: [{ kind: 'memory', speed: 1 }] }, 'device[0].speed is no option'],
    [{ device: { kind: 'memory', name: '' } }, 'device.name is "", wanted a text'],
    [{ device: { kind: 'memory', latency: '1' } }, 'device.latency is "1", wanted microseconds'],
    [{ trace: [] }, 'trace is a list, wanted an object with jsonl, perfetto, allocations, sites, verbose, sinks'],
    [{ trace: { sinks: [1] } }, 'trace.sinks is a list, wanted a list of sinks'],
    [{ trace: { level: 'events' } }, 'trace.level is no option'],
    [{ onNotice: 'log' }, 'onNotice is "log", wanted a function'],
  ])('refuses %j with a TypeError', (options, message) => {
    expect(() => parse(options)).toThrow(TypeError)
    expect(() => parse(options)).toThrow(message)
    expect(() => parse(options)).toThrow(expect.objectContaining({ code: 'WRONG_TYPE' }))
  })

  it.each([
    [{ mode: 'simulated' }, 'mode is "simulated", wanted one of auto, live, live-user, explicit'],
    [{ engine: WORKER, shared: false }, 'engine is a worker, wanted none where arrays are not shared: shared is false'],
    [{ size: 0 }, 'size is 0, wanted more than 0 bytes and at most 16 GiB'],
    [{ size: '17 GiB' }, 'size is 17 GiB, wanted more than 0 bytes and at most 16 GiB'],
    [{ size: -4096 }, 'size is -4096, wanted a whole number of bytes'],
    [{ segments: '5 GiB' }, 'segments is 5 GiB, wanted more than 0 bytes and at most 4 GiB'],
    [{ unfreed: 'crash' }, 'unfreed is "crash", wanted one of ignore, warn, error'],
    [{ memory: '1 TiB' }, 'memory is 1 TiB'],
    [{ device: { kind: 'cuda' } }, 'device.kind is "cuda", wanted one of webgpu, memory'],
    [{ device: { memory: '5 GiB' } }, 'device.memory is 5 GiB, wanted more than 0 bytes and at most 4 GiB'],
    [{ device: { adapter: 'fast' } }, 'device.adapter is "fast", wanted one of high-performance, low-power, software'],
    [{ device: { deadline: 0 } }, 'device.deadline is 0, wanted milliseconds from 1'],
    [{ device: { kind: 'memory', memory: 0 } }, 'device.memory is 0'],
    [{ device: { kind: 'memory', latency: -1 } }, 'device.latency is -1, wanted microseconds from 0'],
    [{ device: { kind: 'memory', bandwidth: 0 } }, 'device.bandwidth is 0, wanted at least 1 byte per second'],
    [{ device: { kind: 'memory', onLost: 'panic' } }, 'device.onLost is "panic", wanted one of sigbus, fill'],
    [
      {
        device: [
          { kind: 'memory', name: 'a' },
          { kind: 'memory', name: 'a' },
        ],
      },
      'name of device 1 is "a"',
    ],
    [{ device: { kind: 'memory', name: 'cpu' } }, 'name of device 0 is "cpu", wanted a name that nothing else has'],
  ])('refuses %j with a RangeError', (options, message) => {
    expect(() => parse(options)).toThrow(RangeError)
    expect(() => parse(options)).toThrow(message)
    expect(() => parse(options)).toThrow(expect.objectContaining({ code: 'BAD_VALUE' }))
  })
})
