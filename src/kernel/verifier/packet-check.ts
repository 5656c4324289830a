/** The comparison with data_end as instructions, in registers that are not used for anything else here. */
export function packetCheck(bytes: number, known: { data?: string; end?: string } = {}): string {
  const free = ["r2", "r3", "r4"].filter((name) => name !== known.data && name !== known.end);
  const { data = free.shift(), end = free.shift() } = known;
  const [sum] = free;
  const where = [
    known.data === undefined ? `data in ${data}` : "",
    known.end === undefined ? `data_end in ${end}` : "",
  ].filter((part) => part !== "");
  const given = where.length === 0 ? "" : `, with ${where.join(" and ")}`;
  return `mov(${sum}, ${data}), add(${sum}, ${bytes}), jgt(${sum}, ${end}, "out")${given}`;
}
