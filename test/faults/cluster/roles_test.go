package cluster

import "testing"

func TestEveryProcessHasALinkToEveryServerThatItTalksTo(t *testing.T) {
	count := map[string]int{}
	for _, l := range Standard().Links {
		count[string(l.FromRole)+" "+string(l.ToRole)]++
	}
	want := map[string]int{"api MariaDB": 2, "scheduler MariaDB": 2, "worker MariaDB": 4, "api Redis": 2, "scheduler Redis": 2, "worker Redis": 4,
		"api nsqd": 4, "scheduler nsqd": 4, "worker nsqd": 8, "worker nsqlookupd": 4, "nsqd nsqlookupd": 4, "worker sink": 4, "client api": 2}
	for pair, n := range want {
		if count[pair] != n {
			t.Errorf("%s: %d links, want %d", pair, count[pair], n)
		}
		delete(count, pair)
	}
	if len(count) > 0 {
		t.Errorf("links that nobody expects: %v", count)
	}
}
