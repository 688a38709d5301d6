package config

import "regexp"

// kubernetesName matches TASKWEIR_SERVICE_HOST, TASKWEIR_API_SERVICE_PORT_HTTP, TASKWEIR_PORT, TASKWEIR_PORT_8080_TCP_ADDR.
var kubernetesName = regexp.MustCompile(`^TASKWEIR_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// editDistance counts the single-character changes between two names.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
