package cron

import (
	"sync"
	"testing"
)

// cases from the common to the rare.
var benchmarks = []struct{ name, expr, zone string }{
	{"five-minutes", "*/5 * * * *", "UTC"},
	{"five-minutes-zone", "*/5 * * * *", "Europe/Berlin"},
	{"workdays", "30 9 * * MON-FRI", "Europe/Berlin"},
	{"every-second", "* * * * * ?", "America/New_York"},
	{"friday-13", "0 0 0 13 * ?", "America/Havana"},
	{"third-friday", "0 0 12 ? * 6#3", "Europe/Berlin"},
	{"leap-day", "0 0 29 2 *", "Europe/Berlin"},
	{"leap-day-monday", "0 0 0 ? FEB 2#5", "Europe/Berlin"},
	{"last-year", "59 59 23 31 12 ? 2199", "Europe/Berlin"},
	{"interval", "@every 90s", "UTC"},
}

func BenchmarkNext(b *testing.B) {
	for _, c := range benchmarks {
		b.Run(c.name, func(b *testing.B) {
			table := mustCompile(b, c.expr, c.zone, "", "")
			const from = 1_800_000_000_000
			at := int64(from)
			b.ReportAllocs()
			for b.Loop() {
				next, ok := table.Next(at)
				if !ok || next > from+100*365*secondsADay*1000 {
					next = from
				}
				at = next
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range benchmarks {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := CompileAt(Spec{Cron: c.expr}, c.zone, "", "", 1_800_000_000_000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("never", func(b *testing.B) {
		for b.Loop() {
			if _, err := Compile(Spec{Cron: "0 0 31 2,4,6,9,11 *"}, "Europe/Berlin", "", ""); err == nil {
				b.Fatal("there is no such day")
			}
		}
	})
}

func TestNextAllocatesNothing(t *testing.T) {
	for _, c := range benchmarks {
		table := mustCompile(t, c.expr, c.zone, "", "")
		at := int64(1_800_000_000_000)
		if n := testing.AllocsPerRun(200, func() {
			if next, ok := table.Next(at); ok {
				at = next
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.expr, n)
		}
	}
}

func TestOneTimetableForManyGoroutines(t *testing.T) {
	table := mustCompile(t, "*/10 1-3 * * *", "Europe/Berlin", Shift, Both)
	want := chain(t, table, 1_800_000_000, 1_800_000_000+400*secondsADay)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			at := int64(1_800_000_000)*1000 - 1
			for _, fire := range want {
				if at, _ = table.Next(at); at != fire*1000 {
					t.Errorf("%d, want %d", at, fire*1000)
					return
				}
			}
		})
	}
	wg.Wait()
}
