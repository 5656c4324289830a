import type { ErrnoFacts, Facts } from "./facts.ts";

/** `errno.ts`: the numbers by name, and name and text by number. */
export function renderErrnos(facts: Facts): string {
  // Two names may share a number (EAGAIN, EWOULDBLOCK); the header's first is the one to print.
  const byNumber = new Map<number, ErrnoFacts>();
  for (const errno of facts.errno) if (!byNumber.has(errno.number)) byNumber.set(errno.number, errno);
  return [
    "// Error numbers (asm/errno.h, as on x86, arm64 and riscv) with the words of strerror(3), and from 512 on the",
    "// kernel-only ones of its internal linux/errno.h, some of which reach user space all the same.",
    "",
    ...facts.errno.map(({ name, number }) => `export const ${name} = ${number};`),
    "",
    "/** What an error number is called and means. */",
    "export interface Errno {",
    '  /** The constant\'s name: "EPERM". */',
    "  readonly name: string;",
    '  /** What strerror(3) says: "Operation not permitted". */',
    "  readonly text: string;",
    "}",
    "",
    "/** Every known error by its (positive) number. */",
    "export const errnos: ReadonlyMap<number, Errno> = new Map([",
    ...[...byNumber.values()].map(
      ({ name, number, text }) =>
        `  [${number}, { name: ${JSON.stringify(name)}, text: ${JSON.stringify(text)} }],`,
    ),
    "]);",
    "",
  ].join("\n");
}

/** `syscall-numbers.ts`: system call numbers per architecture. */
export function renderSyscallNumbers(facts: Facts): string {
  return [
    "// System call numbers (asm/unistd.h) by Node's process.arch.",
    "",
    "/** `syscallNumbers[process.arch].bpf`; an architecture that is not listed has no numbers here. */",
    "export const syscallNumbers = {",
    ...Object.entries(facts.syscalls).flatMap(([arch, numbers]) => [
      `  ${arch}: {`,
      ...Object.entries(numbers).map(([name, number]) => `    ${name}: ${number},`),
      "  },",
    ]),
    "} as const;",
    "",
    "/** An architecture with known system call numbers. */",
    "export type SyscallArch = keyof typeof syscallNumbers;",
    "",
  ].join("\n");
}
