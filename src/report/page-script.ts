// What a report does besides being there: tables are sorted by a column, and the pointer reads the charts. Everything can be read
// without it. Runs as it stands in the page, so it keeps to what browsers have had for years.

export const PAGE_SCRIPT = `
'use strict'
for (const table of document.querySelectorAll('table')) {
  const heads = [...table.querySelectorAll('thead th')]
  heads.forEach((head, column) => {
    const button = document.createElement('button')
    button.type = 'button'
    button.append(...head.childNodes)
    head.append(button)
    button.addEventListener('click', () => {
      const ascending = head.getAttribute('aria-sort') === 'descending'
      for (const other of heads) other.removeAttribute('aria-sort')
      head.setAttribute('aria-sort', ascending ? 'ascending' : 'descending')
      const body = table.tBodies[0]
      const rows = [...body.rows].sort((a, b) => compare(a.cells[column], b.cells[column]) * (ascending ? 1 : -1))
      body.append(...rows)
    })
  })
}
function compare(a, b) {
  if (a.dataset.value !== undefined) return Number(a.dataset.value) - Number(b.dataset.value)
  return a.textContent.localeCompare(b.textContent)
}
for (const charts of document.querySelectorAll('.time-charts')) {
  const axis = charts.querySelector('.axis')
  const read = document.createElement('div')
  read.className = 'note read'
  charts.after(read)
  const cursor = document.createElement('div')
  cursor.className = 'cursor'
  cursor.hidden = true
  charts.append(cursor)
  charts.addEventListener('pointermove', (event) => {
    const box = axis.getBoundingClientRect()
    const part = (event.clientX - box.left) / box.width
    cursor.hidden = part < 0 || part > 1
    if (cursor.hidden) return
    cursor.style.left = event.clientX - charts.getBoundingClientRect().left + 'px'
    read.textContent = readAt(part, axis.dataset, event.target.closest('[data-shares]'))
  })
  charts.addEventListener('pointerleave', () => {
    cursor.hidden = true
    read.textContent = ''
  })
}
function readAt(part, { duration, unit }, row) {
  const time = part * Number(duration)
  const at = unit === 'us' ? (time / 1000).toFixed(2) + ' ms' : 'step ' + Math.round(time)
  if (row === null) return 'at ' + at
  const shares = row.dataset.shares.split(' ')
  const share = shares[Math.min(shares.length - 1, Math.floor(part * shares.length))]
  return 'at ' + at + ': ' + row.dataset.name + ' ' + share + ' % on devices'
}
`
