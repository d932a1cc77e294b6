// `hetmem completion` in real shells: what a Tab behind a line offers.

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { bin: { hetmem: string } }

const SHELLS = ['bash', 'zsh'] as const
type Shell = (typeof SHELLS)[number]

const LINES: readonly (readonly [line: string, offers: readonly string[]])[] = [
  ['hetmem re', ['report']],
  ['hetmem report --o', ['--open', '--out']],
  ['hetmem doctor --', ['--help', '--json']],
  ['hetmem completion b', ['bash']],
  ['hetmem help do', ['doctor']],
  ['hetmem run scr', ['script.ts']],
]

let folder = ''
beforeAll(() => {
  mkdirSync(join(ROOT, '.cache'), { recursive: true })
  folder = mkdtempSync(join(ROOT, '.cache/completion-'))
  for (const shell of SHELLS) {
    const { stdout } = spawnSync(process.execPath, [join(ROOT, bin.hetmem), 'completion', shell], { encoding: 'utf8' })
    write(shell === 'bash' ? 'hetmem.bash' : '_hetmem', stdout)
  }
  write('script.ts', '')
  write('offers.bash', BASH_OFFERS)
  write('offers.zsh', ZSH_OFFERS)
  write('inner.zsh', ZSH_INNER)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** bash offer.bash LINE: the words that the completion leaves, and the files that `-o default` stands for where there are none. */
const BASH_OFFERS = `
source ./hetmem.bash
COMP_WORDS=($1); [[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 ))
_hetmem
(( \${#COMPREPLY[@]} )) || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
printf 'offers:%s\\n' "\${COMPREPLY[@]}"
`

/** zsh offers.zsh LINE HOW: types the line and a Tab into another zsh, in a terminal of its own. */
const ZSH_OFFERS = `
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "PS1=; how=$2; source ./inner.zsh"
zpty -r -m inner text '*inner-is-ready*'
zpty -w -n inner "$1"$'\\t'
zpty -r -m inner text '*that-is-all*'
print -r -- "$text"
zpty -d inner
`

/** Says of each word that is added to the completions that it is, and ends when they are complete. */
const ZSH_INNER = `
[[ $how == fpath ]] && fpath=($PWD $fpath)
autoload -Uz compinit; compinit -u -D
[[ $how == source ]] && source ./_hetmem
compadd() {
  local -a found
  if [[ \${@[1,(i)(-|--)]} != *-[a-zA-Z]#[OAD]\\ * ]]; then
    builtin compadd -A found "$@"
    print -rl -- '' "offers:"\${^found}
  fi
  builtin compadd "$@"
}
comppostfuncs=(finish)
finish() { print; print that-is-all; exit 0 }
print inner-is-"ready"
`

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text)
}

/** What a shell offers behind a line, in alphabetical order. `how` is the way in which zsh gets to know of the completion. */
function offers(shell: Shell, line: string, how: 'source' | 'fpath' = 'source'): string[] {
  const options = { cwd: folder, encoding: 'utf8', timeout: 30_000 } as const
  const { stdout, stderr } = spawnSync(shell, [`offers.${shell}`, line, how], options)
  expect(stderr).toBe('')
  return [...stdout.matchAll(/^offers:(\S+?)\r?$/gm)].map(([, word]) => word).sort()
}

function whyNot(shell: Shell): string | null {
  return spawnSync(shell, ['-c', 'exit']).error === undefined ? null : `${shell} is not installed`
}

describe.each(SHELLS)('hetmem completion %s', (shell) => {
  it.for(LINES)(`offers behind "%s"`, ([line, wanted], { skip }) => {
    const missing = whyNot(shell)
    if (missing !== null) return skip(missing)
    expect(offers(shell, line)).toEqual(wanted)
  })
})

it('zsh completes at the first Tab too, where the completion is a file in its $fpath', ({ skip }) => {
  const missing = whyNot('zsh')
  if (missing !== null) return skip(missing)
  expect(offers('zsh', 'hetmem re', 'fpath')).toEqual(['report'])
})
