package testkit

import (
	"flag"
	"strconv"
)

// AtOnce lets n parallel tests of a package run at once, for packages whose tests mostly wait for servers and timers; go test
// lets as many run as there are processors. TestMain calls it before m.Run. What the caller of go test said (-parallel) stays.
func AtOnce(n int) error {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if said {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(n))
}
