"""All figures of a study, for programs."""

from __future__ import annotations

from typing import Any

from frys_cache.cli.study import Study
from frys_cache.cli.table import sentence

__all__ = ["as_json"]


def as_json(studies: list[Study]) -> dict[str, Any]:
    """Return what `--json` writes; `frys simulate --help` names the keys."""
    return {"traces": [one(study) for study in studies]}


def one(study: Study) -> dict[str, Any]:
    """Return the figures of a trace."""
    advice = study.advice
    results = []
    for size in study.sizes:
        for policy in study.policies:
            result = study.results[policy, size]
            results.append(
                {
                    "policy": policy,
                    "size": size,
                    "hits": result.hits,
                    "misses": result.misses,
                    "evictions": result.evictions,
                    "hit_ratio": result.hit_ratio,
                    "byte_hit_ratio": result.byte_hit_ratio,
                }
            )
    return {
        "trace": study.source.name,
        "requests": len(study.source.trace),
        "keys": study.source.trace.unique,
        "whole": study.source.whole,
        "unit": "bytes" if study.source.in_bytes else "entries",
        "results": results,
        "means": {policy: study.mean(policy) for policy in study.policies},
        "lru_curve": study.lru_curve,
        "advice": {
            "policy": advice.policy,
            "size": advice.size,
            "hit_ratio": advice.hit_ratio,
            "opt_hit_ratio": advice.opt_hit_ratio,
            "doubled_size": 2 * advice.size,
            "doubled_hit_ratio": advice.doubled_hit_ratio,
            "sentence": sentence(study),
        },
    }
