import { enableStats } from "../syscall/bpf-object.ts";
import { Fd } from "../syscall/fd.ts";
import { linuxSyscalls } from "../syscall/ffi.ts";
import type { KernelOptions } from "./map.ts";
import { explainPermission } from "./privileges.ts";

/**
 * Has the kernel measure how often and how long programs run, all of them, until what it gives is closed (kernel 5.8). The
 * figures are `runCount` and `runTimeNs` of {@link BpfProgram.info}; test runs count, too.
 *
 * @throws SyscallError: EPERM without CAP_SYS_ADMIN, EINVAL before kernel 5.8.
 * @example
 * ```ts
 * using _stats = measureRuns();
 * const before = prog.info();
 * prog.testRun({ data: packet, repeat: 1000 });
 * const { runCount, runTimeNs } = prog.info();
 * console.log(runCount - before.runCount, runTimeNs - before.runTimeNs);
 * ```
 */
export function measureRuns(options: KernelOptions = {}): Disposable {
  const { sys = linuxSyscalls() } = options;
  const number = explainPermission(["CAP_SYS_ADMIN"], () => enableStats(sys));
  return Fd.own(sys, number, "BPF run statistics");
}
