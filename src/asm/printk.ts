import { BPF_MEM, BPF_ST, BPF_W } from "../uapi/bpf.ts";
import { bpf_trace_printk } from "../uapi/helpers.ts";
import { add, mov, mov32 } from "./alu.ts";
import { call } from "./call.ts";
import { AssembleError } from "./errors.ts";
import { checkRange, type Insn, insn } from "./insn.ts";
import { type Register, r0, r1, r2, r3, r4, r5, r10, type WritableRegister } from "./register.ts";
import { captureSource, withSource } from "./source-position.ts";

/**
 * Prints a line to the kernel's trace pipe (`/sys/kernel/tracing/trace_pipe`), as a macro around `bpf_trace_printk`.
 *
 * The format is built in the stack right below the frame pointer, over whatever is there: {@link printkAt} puts it lower.
 * Its NUL is added here, since a format without one loads and then fails at run time. r1 to r5 are lost, and r0 becomes
 * the length printed, or a negative error. Needs a GPL-compatible licence, and CAP_PERFMON to load.
 *
 * The kernel ends the line (since 5.9): a `\n` in the format makes an empty one.
 *
 * @param format - ASCII text with at most three conversions: `%d %i %u %x %X` (32 bits; 64 with `l` or `ll`), `%c`, `%s`,
 * `%p`, `%pI4` and the like; `%%` is a percent sign (kernel 5.13).
 * @param args - one register for each conversion, whichever they are.
 * @throws AssembleError when the format and the arguments disagree, or the format holds what the helper refuses when the
 * program runs.
 * @example
 * ```ts
 * xdp("hello", { entry: [mov32(r6, 42), ...printk("answer=%d", r6), mov32(r0, XDP_PASS), exit()] });
 * ```
 */
export function printk(
  format: string,
  ...args: readonly Register[]
): readonly Insn<never, "bpf_trace_printk">[] {
  return printkAt(0, format, ...args);
}

/**
 * {@link printk} with the format somewhere else in the stack, to spare what the program keeps at its top.
 *
 * @param top - where the format ends: an offset from the frame pointer, 0 or negative and a multiple of 4.
 * @throws AssembleError as {@link printk}, and when the format does not fit between `top` and the stack's 512 bytes.
 */
export function printkAt(
  top: number,
  format: string,
  ...args: readonly Register[]
): readonly Insn<never, "bpf_trace_printk">[] {
  checkFormat(format, args.length);
  const text = formatBytes(format);
  const start = top - text.length;
  checkRange("printk: the start of the format, from the frame pointer,", start, -STACK_SIZE, -4);
  if (start % 4 !== 0)
    throw misuse(`the format at ${start} from the frame pointer is not aligned to 4 bytes`);
  return withSource(captureSource(), () => [
    ...moveTogether([r3, r4, r5], args),
    ...storeText(start, text),
    mov(r1, r10),
    add(r1, start),
    mov32(r2, format.length + 1),
    call(bpf_trace_printk),
  ]);
}

const STACK_SIZE = 512;

/** Most values that `bpf_trace_printk` prints. */
const MAX_ARGUMENTS = 3;

// What bpf_bprintf_prepare() in the kernel takes: flags and width, then a conversion.
const CONVERSION =
  /%(?:%|[-+ 0]*(?:[1-9]\d*)?(?:l{0,2}[diuxX]|c|(?:s|p|p[ku]s)(?![A-Za-z0-9])|p[iI][46]|p[KxsSB]))/y;

function checkFormat(format: string, given: number): void {
  let conversions = 0;
  for (let at = format.indexOf("%"); at >= 0; at = format.indexOf("%", at)) {
    CONVERSION.lastIndex = at;
    const [conversion] = CONVERSION.exec(format) ?? [];
    if (conversion === undefined) {
      const hint = "It takes %d %i %u %x %X with l or ll, %c, %s, %p and its kinds, and %%.";
      throw misuse(`the kernel has no conversion '${format.slice(at, at + 4)}'`, hint);
    }
    if (conversion !== "%%") conversions++;
    at += conversion.length;
  }
  if (conversions !== given) {
    throw misuse(
      `the format ${JSON.stringify(format)} has ${conversions} conversions, and ${given} arguments follow`,
    );
  }
  if (given > MAX_ARGUMENTS)
    throw misuse(`${given} arguments, and the kernel prints at most ${MAX_ARGUMENTS}`);
}

/** The format with its NUL, padded with zeros to whole 4-byte words. */
function formatBytes(format: string): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((format.length + 1) / 4) * 4);
  for (let index = 0; index < format.length; index++) {
    const code = format.charCodeAt(index);
    const printable = (code >= 0x20 && code < 0x7f) || code === 0x0a || code === 0x09;
    if (!printable) {
      throw misuse(
        `the format ${JSON.stringify(format)} holds a character that is not printable ASCII`,
        "The kernel refuses it when the program runs.",
      );
    }
    bytes[index] = code;
  }
  return bytes;
}

/** Stores bytes in the stack, 4 at a time, in their order whatever the byte order of the machine. */
function storeText(start: number, text: Uint8Array): readonly Insn<never, never>[] {
  const view = new DataView(text.buffer);
  const code = BPF_ST | BPF_MEM | BPF_W;
  return Array.from({ length: text.length / 4 }, (_, index) => {
    const at = index * 4;
    const ref = { kind: "bytes", bytes: text.subarray(at, at + 4) } as const;
    return insn({ code, dst_reg: r10.number, off: start + at, imm: view.getInt32(at, true), ref });
  });
}

/** Moves registers into others as if at once: none is overwritten before it is read. */
function moveTogether(
  targets: readonly WritableRegister[],
  sources: readonly Register[],
): readonly Insn<never, never>[] {
  const insns: Insn<never, never>[] = [];
  let moves = targets.flatMap((to, index) => {
    const from = sources[index];
    return from === undefined || from.number === to.number ? [] : [{ to, from }];
  });
  while (moves.length > 0) {
    const isRead = (register: Register): boolean => moves.some(({ from }) => from.number === register.number);
    const ready = moves.find(({ to }) => !isRead(to));
    if (ready !== undefined) {
      insns.push(mov(ready.to, ready.from));
      moves = moves.filter((move) => move !== ready);
      continue;
    }
    // They go in a circle among r3 to r5: read one of them through a register that nothing needs any more.
    const { from } = moves[0] as { from: Register };
    const spare = [r0, r1, r2].find((register) => !isRead(register)) as WritableRegister;
    insns.push(mov(spare, from));
    moves = moves.map((move) => (move.from.number === from.number ? { ...move, from: spare } : move));
  }
  return insns;
}

function misuse(reason: string, hint?: string): AssembleError {
  return new AssembleError(`printk: ${reason}`, { source: captureSource()?.position() }, hint);
}
