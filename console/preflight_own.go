package console

// judgeOwnAPI: what is asked of an API server, or scaled there, concerns the
// cluster whose etcd it reads, whatever the configuration calls it.
func judgeOwnAPI(f PreflightFacts) []PreflightLine {
	var lines []PreflightLine
	for _, side := range []PreflightSide{f.Primary, f.Standby} {
		switch own := side.OwnAPI; {
		case !own.Known:
			lines = append(lines, unchecked(bothKubeconfigs, "whether the API servers read the etcds", side.Name+": "+orUnknown(own.Why))...)
		case own.Value != "":
			lines = append(lines, checked(CheckFail, "correct the current context or the address in its kubeconfig, or its etcd.endpoints: understudy config view",
				"the kubeconfig of %s leads to %s, which %s", side.Name, side.APIAddress, own.Value)...)
		}
	}
	if lines == nil {
		return checked(CheckOK, "", "the API server of each kubeconfig reads the etcd of its side")
	}
	return lines
}
