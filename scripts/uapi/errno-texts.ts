import type { ErrnoFacts } from "./facts.ts";

/**
 * Error numbers of the kernel's internal `include/linux/errno.h`. No header for programs has them, yet some reach
 * user space (ENOTSUPP does, from bpf() and the network stack), where strerror(3) says "Unknown error 524".
 */
export const kernelOnlyErrnos: readonly ErrnoFacts[] = [
  { name: "ERESTARTSYS", number: 512, text: "System call interrupted, to be restarted" },
  { name: "ERESTARTNOINTR", number: 513, text: "System call interrupted, always to be restarted" },
  { name: "ERESTARTNOHAND", number: 514, text: "System call interrupted, to be restarted if no handler ran" },
  { name: "ENOIOCTLCMD", number: 515, text: "No such ioctl command" },
  { name: "ERESTART_RESTARTBLOCK", number: 516, text: "System call interrupted, to be continued" },
  { name: "EPROBE_DEFER", number: 517, text: "Driver asks to be probed again later" },
  { name: "EOPENSTALE", number: 518, text: "Open found a stale directory entry" },
  { name: "ENOPARAM", number: 519, text: "Parameter not supported" },
  { name: "EBADHANDLE", number: 521, text: "Illegal NFS file handle" },
  { name: "ENOTSYNC", number: 522, text: "Update synchronisation mismatch" },
  { name: "EBADCOOKIE", number: 523, text: "Cookie is stale" },
  { name: "ENOTSUPP", number: 524, text: "Operation is not supported by the kernel" },
  { name: "ETOOSMALL", number: 525, text: "Buffer or request is too small" },
  { name: "ESERVERFAULT", number: 526, text: "Untranslatable server error" },
  { name: "EBADTYPE", number: 527, text: "Type not supported by the server" },
  { name: "EJUKEBOX", number: 528, text: "Request begun, will not complete in time" },
  { name: "EIOCBQUEUED", number: 529, text: "I/O queued, completion will be reported" },
  { name: "ERECALLCONFLICT", number: 530, text: "Conflict with a recalled state" },
  { name: "ENOGRACE", number: 531, text: "NFS file lock reclaim refused" },
];

/** Texts for errors that Debian stable's C library does not know yet. */
export const newErrnoTexts: Readonly<Record<string, string>> = {
  EFTYPE: "Inappropriate file type or format",
};
