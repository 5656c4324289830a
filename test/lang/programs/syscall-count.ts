import type { Program } from "../../../src/asm/program.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { type LangOptions, rawTracepoint } from "../../../src/lang/index.ts";
import { BPF_NOEXIST } from "../../../src/uapi/bpf.ts";
import { calls, config } from "../maps.ts";

/** Raw tracepoint (sys_enter): counts system calls by number, of one process or of all. */
export function syscallCount(options?: LangOptions): Program<"raw_tracepoint"> {
  return rawTracepoint(
    "syscall_count",
    ($) => {
      const nothing = { else: () => $.return(0) };
      const settings = $.lookup(config, 0, nothing);
      const nr = $.ctx.args.at(1).to(u32);
      $.if(nr.ge(settings.limit), nothing.else);
      const key = $.struct(calls.key, { nr });
      $.if(settings.by_pid.ne(0), () => key.pid.set($.bpf_get_current_pid_tgid().shr(32).to(u32)));

      $.lookup(calls, key, (count) => $.atomic.add(count, 1)).else(() =>
        $.update(calls, key, 1, BPF_NOEXIST),
      );
      return $.return(0);
    },
    options,
  );
}
