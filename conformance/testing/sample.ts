// A short recording with every kind of field, for tests. The kernel gave these answers; the watch and same fields are from
// other sequences.

import { parseSequence, type Sequence } from '../trace.ts'

const STATE = (pte: string, attr: string, pagemap: string) => ({ pte, attr, pagemap })

const SAMPLE = {
  id: 'sample-00001',
  pages: 4,
  baseOffset: 0,
  filePages: 4,
  ops: [
    {
      op: 'mmap',
      ...{ proc: 0, page: 0, n: 3, prot: 'rw', kind: 'anon-private' },
      result: { ret: 0 },
      state: { 0: STATE('ttt_', '....', '....') },
    },
    {
      op: 'cpu-write',
      ...{ proc: 0, page: 0, n: 4, value: 100 },
      result: { status: ['ok', 'ok', 'ok', 'segv'] },
      state: { 0: STATE('www_', '777.', '999.') },
    },
    { op: 'watch', slot: 1, proc: 0, page: 1, n: 2, result: { ret: 0 } },
    {
      op: 'migrate-to-dev',
      ...{ dev: 0, proc: 0, page: 1, n: 2 },
      result: { cpages: 2, values: [101, 102] },
      events: [[0, 'MIGRATE', 1, 3, 'dev0']],
      watch: [[0, 1, 'MIGRATE', 1, 3, 'dev0']],
      state: { 0: STATE('wDD_', '777.', '9aa.') },
    },
    {
      op: 'fork',
      childDevs: [],
      result: { ret: 0 },
      events: [[0, 'PROTECTION_PAGE', 0, 3, '']],
      watch: [[0, 1, 'PROTECTION_PAGE', 0, 3, '']],
      state: { 0: STATE('rdd_', '111.', '122.'), 1: STATE('rdd_', '111.', '122.') },
      same: ['0:0=1:0', '0:1=1:1', '0:2=1:2'],
    },
    { op: 'dev-write', dev: 0, proc: 0, page: 1, n: 1, value: 200, result: { errno: 'EFAULT' } },
    {
      op: 'range-fault',
      ...{ proc: 0, page: 0, n: 4, owner: 'dev0', default: '', mask: 'F', req: ['F', 'F', '', ''] },
      result: { ret: 0, busy: 0, pfns: ['V:0', 'V:d0:1', 'V:d0:2', 'E'] },
    },
    { op: 'exit-child', result: { ret: 0 }, state: { 0: STATE('rdd_', '555.', '9aa.') }, same: [] },
  ],
}

export function makeSample(): Sequence {
  return parseSequence(JSON.stringify(SAMPLE), 'sample')
}
