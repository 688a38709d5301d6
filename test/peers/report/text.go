package report

import (
	"fmt"
	"strings"
)

// trim writes 3 as 3 and 0.35 as 0.35.
func trim(v float64) string {
	return strings.TrimRight(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}
