// `hetmem completion`: what makes a shell complete commands and options, generated from the commands themselves.

import type { Command } from 'commander'

export const COMPLETION_SHELLS = ['bash', 'zsh'] as const
export type CompletionShell = (typeof COMPLETION_SHELLS)[number]

/** A script for the shell. */
export function completion(shell: CompletionShell, program: Command): string {
  return shell === 'bash' ? bash(program) : zsh(program)
}

function bash(program: Command): string {
  const cases = program.commands.map((command) => {
    const words = [...flagsOf(command).map(({ long }) => long), ...choicesOf(command)]
    return `    ${command.name()}) words='${words.join(' ')}' ;;`
  })
  return `# hetmem completion for bash
_hetmem() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=''
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words='${[...names(program), '--help', '--version'].join(' ')}'; fi
  if [ "\${COMP_WORDS[1]}" = help ]; then words='${names(program).join(' ')}'; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _hetmem hetmem
`
}

function zsh(program: Command): string {
  const commands = program.commands.map((command) => `    '${command.name()}:${quoted(command.summary())}'`)
  const cases = program.commands.map((command) => {
    const flags = flagsOf(command).map(({ long, description, takesFile }) => {
      return `'${long}[${quoted(description)}]${takesFile ? ':file:_files' : ''}'`
    })
    return `    ${command.name()}) _arguments ${[...flags, ...zshArguments(command)].join(' ')} ;;`
  })
  return `#compdef hetmem
# hetmem completion for zsh
_hetmem() {
  local -a commands
  commands=(
${commands.join('\n')}
    'help:print help for a command'
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local name="$words[2]"
  shift words
  (( CURRENT-- ))
  case "$name" in
    help) _describe command commands ;;
${cases.join('\n')}
  esac
}
# As a file in $fpath this is the function itself, and called for the first time.
if [[ "$funcstack[1]" == _hetmem ]]; then _hetmem "$@"; else compdef _hetmem hetmem; fi
`
}

function zshArguments(command: Command): string[] {
  const choices = choicesOf(command)
  if (choices.length > 0) return [`'1:value:(${choices.join(' ')})'`]
  return command.registeredArguments.length > 0 ? [`'*:file:_files'`] : []
}

function names(program: Command): string[] {
  return [...program.commands.map((command) => command.name()), 'help']
}

interface Flag {
  readonly long: string
  readonly description: string
  /** A file or folder follows: there are no other values. */
  readonly takesFile: boolean
}

function flagsOf(command: Command): Flag[] {
  const own = command.options.map(({ long, description, required }) => {
    return { long: long as string, description, takesFile: required }
  })
  return [...own, { long: '--help', description: 'print help for the command', takesFile: false }]
}

/** What an argument of the command may be, where that is known. */
function choicesOf(command: Command): readonly string[] {
  return command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? [])
}

/** For text between single quotes, in brackets, before a colon. */
function quoted(text: string): string {
  return text.replace(/'/g, "'\\''").replace(/[[\]:]/g, '\\$&')
}
