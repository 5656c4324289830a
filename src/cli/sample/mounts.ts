import { releaseFilesystem } from "../../kernel/filesystems.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { listPins, pinRoot } from "./pins.ts";

/**
 * Unmounts what tsbpf mounted, once it is of no use: when nothing is pinned any more, in any network namespace, and nobody
 * reads a log.
 *
 * @param bpffs - where pins go, if not to the machine's bpffs.
 */
export function releaseMounts(sys: Syscalls, bpffs?: string): void {
  const root = pinRoot(bpffs);
  if (root !== undefined && listPins(root).length > 0) return;
  releaseFilesystem(sys, "tracefs");
  releaseFilesystem(sys, "bpf");
}
