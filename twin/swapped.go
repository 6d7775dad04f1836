package twin

// precious are what a management cluster is there for. Which side has them says
// which one is in use.
var precious = []string{
	"clusters.cluster.x-k8s.io",
	"clusters.management.cattle.io",
	"managedclusters.cluster.open-cluster-management.io",
	"clusters.platform.tkestack.io",
}

const (
	// fewToJudge: below so many objects on the standby nothing is said of the whole.
	fewToJudge = 50
	// emptySide: the primary has less than this share of what the standby has.
	emptySide = 0.1
)

// Swapped says by what it looks as if primary and standby were the wrong way round,
// before the first copy has given them roles: a resource, or "objects in scope" where
// all count, and how many each side has; "" = nothing. The maps count what is in scope.
func Swapped(primary, standby map[string]int64) (what string, here, there int64) {
	for _, resource := range precious {
		if primary[resource] == 0 && standby[resource] > 0 {
			return resource, 0, standby[resource]
		}
	}
	for _, n := range primary {
		here += n
	}
	for _, n := range standby {
		there += n
	}
	if there >= fewToJudge && float64(here) < emptySide*float64(there) {
		return "objects in scope", here, there
	}
	return "", 0, 0
}
