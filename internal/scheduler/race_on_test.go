//go:build race

package scheduler_test

// racing says that the race detector makes everything many times slower: what is measured then means nothing.
const racing = true
