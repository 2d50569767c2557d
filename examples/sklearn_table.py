"""From a CSV file with categories and missing values to calibrated intervals and a picture, with `thinnet.sklearn`."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from thinnet.sklearn import DropoutRegressor

# A file of flats: the rent depends on the area, the year and the district, and large flats vary more.
rng = np.random.default_rng(0)
rows = 1500
made = pd.DataFrame({"area": rng.uniform(20, 150, rows).round(), "year": rng.integers(1900, 2024, rows).astype(float)})
made["district"] = rng.choice(["north", "south", "harbour"], rows)
price = 9 + 0.02 * (made["year"] - 1950).clip(0) + made["district"].map({"north": 0, "south": 2, "harbour": 5})
made["rent"] = (made["area"] * price + rng.normal(size=rows) * made["area"] * 1.5).round()
made.loc[rng.random(rows) < 0.1, "year"] = np.nan
made.loc[rng.random(rows) < 0.05, "district"] = None

table = pd.read_csv(StringIO(made.to_csv(index=False)))
X, y = table.drop(columns="rent"), table["rent"]
X, X_test, y, y_test = train_test_split(X, y, random_state=0)

# Numbers: impute, mark what was missing, standardise. Text: one column a category, and one for missing.
numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
encode = ColumnTransformer(
    [
        ("numbers", numbers, make_column_selector(dtype_include="number")),
        ("text", OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    ]
)
model = make_pipeline(encode, DropoutRegressor(dropout=0.1, calibration=0.2, max_epochs=60, random_state=0)).fit(X, y)
estimator, rows_test = model[-1], model[:-1].transform(X_test)

print(estimator.summary_())
print(f"\nR2 on {len(y_test)} test rows: {model.score(X_test, y_test):.3f}")

interval = estimator.predict_interval(rows_test, coverage=0.9)
inside = (interval[:, 0] <= y_test) & (y_test <= interval[:, 1])
print(f"intervals for 90 % hold {inside.mean():.0%} of the test rows")

mean, std = model.predict(X_test, return_std=True)
print(
    pd.DataFrame({"rent": y_test, "predicted": mean, "std": std, "low": interval[:, 0], "high": interval[:, 1]}).head().round()
)

order = np.argsort(mean)
band = {"x": mean[order], "line_width": 0, "mode": "lines"}
picture = go.Figure(layout={"xaxis_title": "predicted rent", "yaxis_title": "rent"})
picture.add_scatter(y=interval[order, 0], showlegend=False, **band)
picture.add_scatter(y=interval[order, 1], fill="tonexty", name="90 % interval", **band)
picture.add_scatter(x=mean, y=y_test, mode="markers", name="test rows")
Path("rents.html").write_text(picture.to_html(include_plotlyjs=True), encoding="utf-8")
print("the picture is in rents.html")

again = model[-1].predict_interval(rows_test[:5], coverage=0.9)
print(f"intervals of five rows alone equal those in the batch: {np.allclose(again, interval[:5], rtol=1e-4)}")
