package faults

import "github.com/taskweir/taskweir/test/faults/cluster"

// Catalogue lists every kind of fault that a cluster of the shape can have, in the order of the table.
func Catalogue(shape cluster.Shape) []Kind {
	kinds := signals()
	kinds = append(kinds, aways()...)
	kinds = append(kinds, links(shape)...)
	kinds = append(kinds, points()...)
	return append(kinds, clocks()...)
}

// Groups lists the lines of the README in the catalogue's order.
func Groups(kinds []Kind) (groups []string) {
	seen := map[string]bool{}
	for _, k := range kinds {
		if !seen[k.Group] {
			seen[k.Group] = true
			groups = append(groups, k.Group)
		}
	}
	return groups
}
